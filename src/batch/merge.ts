import type { Signature } from '../manifest.ts'
import { adjacent } from './stack.ts'
import type { Decoded } from './types.ts'

/** Neighbours whose rows were read into one memory, one behind the other, become one record of several: what is done once is done for all. */
export function merged(records: readonly Decoded[], signature: Signature): Decoded[] {
  const out: Decoded[] = []
  for (let from = 0; from < records.length; ) {
    let to = from + 1
    if (isRow(records[from]!, signature))
      while (to < records.length && isRow(records[to]!, signature) && follows(records[to - 1]!, records[to]!)) to++
    out.push(to - from > 1 ? together(records.slice(from, to)) : records[from]!)
    from = to
  }
  return out
}

/** Of exactly the shape that the model takes, and with nothing that is only its own. */
function isRow({ input, count, id, source }: Decoded, { inputs }: Signature): boolean {
  if (input.kind !== 'tensors' || count !== undefined || id !== undefined || source !== undefined) return false
  return Object.entries(input.tensors).every(([alias, { shape, data }]) => {
    const spec = Object.hasOwn(inputs, alias) ? inputs[alias]!.shape : undefined
    return !Array.isArray(data) && spec?.length === shape.length + 1 && shape.every((d, i) => d === spec[i + 1])
  })
}

function follows(before: Decoded, after: Decoded): boolean {
  if (before.input.kind !== 'tensors' || after.input.kind !== 'tensors') return false
  const next = after.input.tensors
  const aliases = Object.keys(before.input.tensors)
  return (
    aliases.length === Object.keys(next).length &&
    Object.entries(before.input.tensors).every(([alias, t]) => {
      const data = next[alias]?.data
      if (Array.isArray(t.data) || data === undefined || Array.isArray(data)) return false
      return data.buffer === t.data.buffer && data.byteOffset === t.data.byteOffset + t.data.byteLength
    })
  )
}

function together(records: readonly Decoded[]): Decoded {
  const [first, last] = [records[0]!, records[records.length - 1]!]
  const all = records.map((r) => (r.input.kind === 'tensors' ? r.input.tensors : {}))
  const tensors = Object.fromEntries(
    Object.entries(all[0]!).map(([alias, { dtype, shape }]) => {
      const data = adjacent(all.map((t) => t[alias]!))!
      return [alias, { dtype, shape: [records.length, ...shape], data }]
    }),
  )
  const bytes = records.reduce((n, r) => n + r.bytes, 0)
  return { record: first.record, count: records.length, input: { kind: 'tensors', tensors }, bytes, next: last.next }
}
