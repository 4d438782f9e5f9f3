export type Cell = string | number

/** Aligned columns, numbers to the right; the first row is the header. No colours: it also goes into files. */
export function table(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const width = header.map((h, i) => Math.max(h.length, ...rows.map((r) => show(r[i]).length)))
  const right = header.map((_, i) => rows.length > 0 && rows.every((r) => isNumeric(r[i])))
  const put = (cells: readonly (Cell | undefined)[]) =>
    cells
      .map((c, i) => (right[i] ? show(c).padStart(width[i]!) : show(c).padEnd(width[i]!)))
      .join('  ')
      .trimEnd()
  return [put(header), put(width.map((w) => '─'.repeat(w))), ...rows.map(put)].join('\n')
}

const show = (c: Cell | undefined) => (typeof c === 'number' ? c.toLocaleString('en-US') : (c ?? ''))
/** `12`, `1,234`, `61.5 MB`, `24.1 %` */
const isNumeric = (c: Cell | undefined) => typeof c === 'number' || /^-?[\d,.]+( ?(%|[kMG]?B|m?s))?$/.test(c ?? '')

export const seconds = (ms: number) => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`)

/** decimal units, as Lambda's limits are stated */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`
  const unit = n < 1e6 ? ['kB', 1e3] : n < 1e9 ? ['MB', 1e6] : ['GB', 1e9]
  return `${(n / (unit[1] as number)).toFixed(1)} ${unit[0]}`
}
