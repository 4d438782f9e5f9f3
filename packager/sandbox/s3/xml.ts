/** Elements by name, in their order; a list is an element that comes again. */
export interface Elements {
  readonly [name: string]: Content | readonly Content[]
}
type Content = string | number | boolean | Elements

export const xml = (root: Elements): string => `<?xml version="1.0" encoding="UTF-8"?>\n${text(root)}`

function text(elements: Elements): string {
  return Object.entries(elements)
    .flatMap(([name, v]) => [v].flat().map((one) => `<${name}>${inside(one as Content)}</${name}>`))
    .join('')
}

const inside = (c: Content): string => (typeof c === 'object' ? text(c) : escaped(String(c)))

/** What XML cannot hold is written as its number, which the SDKs read. */
function escaped(s: string): string {
  return s.replace(/[\p{Cc}&<>"]/gu, (c) => `&#${c.charCodeAt(0)};`)
}
