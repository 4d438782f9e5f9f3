import type { Signature } from '../manifest.ts'
import { adjacent } from './stack.ts'
import type { Decoded } from './types.ts'

/** Neighbours whose rows were read into one memory, one behind the other, become one record of several: what is done once is done for all. */
export function merged(records: readonly Decoded[], signature: Signature): Decoded[] {
  const out: Decoded[] = []
  for (let from = 0; from < records.length; ) {
    let to = from + 1
    if (isRows(records[from]!, signature))
      while (to < records.length && isRows(records[to]!, signature) && follows(records[to - 1]!, records[to]!)) to++
    out.push(to - from > 1 ? together(records.slice(from, to), signature) : records[from]!)
    from = to
  }
  return out
}

/** Of exactly the shape that the model takes, and with nothing that is only its own. */
function isRows({ input, count, id, source }: Decoded, { inputs }: Signature): boolean {
  if (input.kind !== 'tensors' || id !== undefined || source !== undefined) return false
  return Object.entries(input.tensors).every(([alias, { shape, data }]) => {
    const spec = Object.hasOwn(inputs, alias) ? inputs[alias]!.shape : undefined
    const row = count === undefined ? shape : shape.slice(1)
    return !Array.isArray(data) && spec?.length === row.length + 1 && row.every((d, i) => d === spec[i + 1])
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

function together(records: readonly Decoded[], { inputs }: Signature): Decoded {
  const [first, last] = [records[0]!, records[records.length - 1]!]
  const all = records.map((r) => (r.input.kind === 'tensors' ? r.input.tensors : {}))
  const count = records.reduce((n, r) => n + (r.count ?? 1), 0)
  const tensors = Object.fromEntries(
    Object.entries(all[0]!).map(([alias, { dtype }]) => {
      const data = adjacent(all.map((t) => t[alias]!))!
      return [alias, { dtype, shape: [count, ...(inputs[alias]!.shape!.slice(1) as number[])], data }]
    }),
  )
  const bytes = records.reduce((n, r) => n + r.bytes, 0)
  return { record: first.record, count, input: { kind: 'tensors', tensors }, bytes, next: last.next }
}
