/** `10` after `9`, `0.0.10` after `0.0.9`, `V0002` after `V0001`: runs of digits compare as numbers, the rest as text. */
export function compareVersions(a: string, b: string): number {
  const as = a.match(/\d+|\D+/g) ?? []
  const bs = b.match(/\d+|\D+/g) ?? []
  for (let i = 0; i < Math.max(as.length, bs.length); i++) {
    const [x = '', y = ''] = [as[i], bs[i]]
    const order = Number(x) - Number(y) || (x < y ? -1 : x > y ? 1 : 0)
    if (order !== 0) return order
  }
  return 0
}

/** The number that a version is, `7` of `7`, `007` and `V0007`; itself where it is none. */
export function versionNumber(version: string): string {
  return /^V?0*(\d+)$/i.exec(version)?.[1] ?? version
}
