/**
 * esbuild names every npm module by its path: in comments, in the keys of __commonJS, in the sources of the map. Where
 * node_modules lies differs between machines, so the part above it is cut off. Lines stay where they are; columns behind
 * a shortened key move, and the map moves with them.
 */
export function portable(code: string, mapText: string): { code: string; map: string } {
  const map = JSON.parse(mapText) as { sources: string[]; mappings: string }
  const mapped = map.mappings.split(';')
  const lines = code.split('\n').map((line, i) => {
    const cut = line.replace(ABOVE_IN_CODE, '$1')
    if (cut !== line && mapped[i])
      mapped[i] = shiftColumns(mapped[i], line.indexOf('node_modules/'), cut.length - line.length)
    return cut
  })
  const sources = map.sources.map(fromModules)
  return { code: lines.join('\n'), map: JSON.stringify({ ...map, sources, mappings: mapped.join(';') }) }
}

/** `../../../somewhere/node_modules/x/y.js` → `node_modules/x/y.js` */
export const fromModules = (path: string) => path.replace(/^.*?(?=node_modules\/)/, '')

const ABOVE_IN_CODE = /^(\s*(?:\/\/ |"))[^"]*?(?=node_modules\/)/

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** Columns are deltas to the segment before: the first one behind `from` carries all others with it. */
function shiftColumns(line: string, from: number, by: number): string {
  const segments = line.split(',')
  let column = 0
  for (const [i, segment] of segments.entries()) {
    const { value, length } = decode(segment)
    column += value
    if (column < from) continue
    segments[i] = encode(value + by) + segment.slice(length)
    break
  }
  return segments.join(',')
}

/** The first base64 VLQ number of a segment: its column. */
function decode(segment: string): { value: number; length: number } {
  let bits = 0
  let length = 0
  for (let digit = 32; digit & 32; length++) {
    digit = DIGITS.indexOf(segment[length]!)
    bits += (digit & 31) << (5 * length)
  }
  return { value: bits & 1 ? -(bits >> 1) : bits >> 1, length }
}

function encode(value: number): string {
  let text = ''
  let bits = value < 0 ? (-value << 1) | 1 : value << 1
  do {
    text += DIGITS[(bits & 31) | (bits > 31 ? 32 : 0)]
    bits >>= 5
  } while (bits > 0)
  return text
}
