const [WIDTH, HEIGHT] = [760, 420]
const BOX = { left: 70, right: 730, top: 50, bottom: 360 }
/** where lines that rise leave room */
const LEGEND = 430
const COLOURS = ['#c2410c', '#1d4ed8', '#15803d', '#94a3b8']
const MARKS: readonly (readonly [seconds: number, text: string])[] = [
  [1, '1 s'],
  [10, '10 s'],
  [60, '1 min'],
  [600, '10 min'],
  [3600, '1 h'],
  [36_000, '10 h'],
  [360_000, '100 h'],
]

/** Lines over powers of ten, both ways logarithmic, as SVG on white. */
export function chart(
  title: string,
  sizes: readonly number[],
  lines: Readonly<Record<string, readonly number[]>>,
): string {
  const all = Object.values(lines).flat()
  const low = Math.max(...MARKS.map(([s]) => s).filter((s) => s <= Math.min(...all)), MARKS[0]![0])
  const high = Math.min(...MARKS.map(([s]) => s).filter((s) => s >= Math.max(...all)), MARKS.at(-1)![0])
  const x = (n: number) => between(Math.log10(n), Math.log10(sizes[0]!), Math.log10(sizes.at(-1)!), BOX.left, BOX.right)
  const y = (s: number) => between(Math.log10(s), Math.log10(low), Math.log10(high), BOX.bottom, BOX.top)
  const text = (at: string, said: string, more = '') => `<text ${at} ${more}>${said}</text>`
  const marks = MARKS.filter(([s]) => s >= low && s <= high).map(
    ([s, said]) =>
      `<line x1="${BOX.left}" x2="${BOX.right}" y1="${y(s)}" y2="${y(s)}" stroke="#e2e8f0"/>` +
      text(`x="${BOX.left - 8}" y="${y(s) + 4}"`, said, 'text-anchor="end"'),
  )
  const ticks = sizes.map((n) =>
    text(`x="${x(n)}" y="${BOX.bottom + 20}"`, `10${power(Math.log10(n))}`, 'text-anchor="middle"'),
  )
  const count = Object.keys(lines).length
  const drawn = Object.entries(lines).map(([name, seconds], i) => {
    const colour = COLOURS[i % COLOURS.length]!
    const points = seconds.map((s, k) => `${x(sizes[k]!).toFixed(1)},${y(s).toFixed(1)}`)
    const dots = points.map((p) => `<circle cx="${p.split(',')[0]}" cy="${p.split(',')[1]}" r="3.5" fill="${colour}"/>`)
    const legend = text(`x="${LEGEND + 28}" y="${BOX.bottom - 10 - 20 * (count - 1 - i)}"`, name)
    const key = `<line x1="${LEGEND}" x2="${LEGEND + 20}" y1="${BOX.bottom - 14 - 20 * (count - 1 - i)}" y2="${BOX.bottom - 14 - 20 * (count - 1 - i)}" stroke="${colour}" stroke-width="2.5"/>`
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="2.5"/>${dots.join('')}${key}${legend}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13" fill="#334155">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>
${text(`x="${BOX.left}" y="28"`, title, 'font-size="16" font-weight="bold"')}
${marks.join('\n')}
${ticks.join('\n')}
${text(`x="${(BOX.left + BOX.right) / 2}" y="${BOX.bottom + 44}"`, 'objects', 'text-anchor="middle"')}
${drawn.join('\n')}
</svg>
`
}

const between = (v: number, a: number, b: number, from: number, to: number) => from + ((v - a) / (b - a)) * (to - from)
const power = (n: number) => [...String(Math.round(n))].map((d) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(d)]).join('')
