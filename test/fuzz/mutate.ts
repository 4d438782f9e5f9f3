/** A small deterministic generator (mulberry32), so that a failure can be run again. */
export function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Bytes that end varints, start fields, name types or fill numbers. */
const TELLING = [0, 1, 7, 8, 10, 18, 26, 34, 42, 50, 58, 63, 64, 127, 128, 254, 255]
/** A varint of 2^40 and one of -1. */
const HUGE = [Buffer.from([128, 128, 128, 128, 128, 32]), Buffer.from([255, 255, 255, 255, 255, 255, 255, 255, 255, 1])]

/** A damaged copy: bits and bytes changed, pieces cut, doubled, swapped, the end missing, or a number made huge. */
export function mutate(next: () => number, bytes: Uint8Array): Buffer {
  let out = Buffer.from(bytes)
  const at = (n = out.length) => Math.floor(next() * n)
  const moves: (() => void)[] = [
    () => {
      out[at()]! ^= 1 << at(8)
    },
    () => {
      out[at()] = TELLING[at(TELLING.length)]!
    },
    () => {
      out = out.subarray(0, at())
    },
    () => {
      const [from, size] = [at(), at(40)]
      out = Buffer.concat([out.subarray(0, from), out.subarray(from + size)])
    },
    () => {
      const [from, size, to] = [at(), at(200), at()]
      out = Buffer.concat([out.subarray(0, to), out.subarray(from, from + size), out.subarray(to)])
    },
    () => {
      const to = at()
      out = Buffer.concat([out.subarray(0, to), HUGE[at(2)]!, out.subarray(to + at(3))])
    },
  ]
  for (let i = 1 + at(4); i > 0 && out.length > 0; i--) moves[at(moves.length)]!()
  return out
}

/** One member somewhere inside is another. */
export function spoil(value: unknown, at: number, by: unknown): unknown {
  const places: { of: Record<string, unknown>; key: string }[] = []
  const walk = (v: unknown) => {
    if (typeof v !== 'object' || v === null) return
    for (const key of Object.keys(v)) {
      places.push({ of: v as Record<string, unknown>, key })
      walk((v as Record<string, unknown>)[key])
    }
  }
  walk(value)
  const { of, key } = places[at % places.length]!
  of[key] = by
  return value
}
