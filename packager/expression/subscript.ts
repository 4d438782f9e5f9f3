import { sizeOf } from '../../src/tensor.ts'
import { integer } from './args.ts'
import { gather, type NdArray } from './ndarray.ts'
import type { Node } from './parse.ts'
import { ValueProblem } from './problem.ts'
import { array, type Budget, describeValue, type Value } from './value.ts'

/** Integers, slices, `...` and None, on arrays and on lists. @throws {ValueProblem} */
export function subscript(of: Value, items: readonly Node[], walk: (n: Node) => Value, budget: Budget): Value {
  if (of.kind === 'array') return array(element(of.value, items, walk, budget))
  if (of.kind !== 'list' && of.kind !== 'tuple')
    throw new ValueProblem('an array or a list before [', describeValue(of))
  const [item] = items
  if (items.length !== 1 || !item) throw new ValueProblem('one index into a list', `${items.length}`)
  if (item.kind === 'slice')
    return { kind: of.kind, items: range(item, of.items.length, walk).map((i) => of.items[i]!) }
  return of.items[position(integer(walk(item), 'an index'), of.items.length)]!
}

function element(a: NdArray, items: readonly Node[], walk: (n: Node) => Value, budget: Budget): NdArray {
  const values = items.map((n) => (n.kind === 'slice' || n.kind === 'ellipsis' ? n : walk(n)))
  const taken = values.filter((v) => v.kind !== 'none' && v.kind !== 'ellipsis').length
  if (taken > a.shape.length || values.filter((v) => v.kind === 'ellipsis').length > 1)
    throw new ValueProblem(`at most ${a.shape.length} indices and one ...`, `${items.length}`)
  if (!values.some((v) => v.kind === 'ellipsis')) values.push({ kind: 'ellipsis', at: 0 })
  // what is read along each axis of the array, and which axes remain
  const picks: number[][] = []
  const shape: number[] = []
  const keep = (list: number[]) => {
    picks.push(list)
    shape.push(list.length)
  }
  for (const v of values) {
    const size = a.shape[picks.length] ?? 0
    if (v.kind === 'none') shape.push(1)
    else if (v.kind === 'ellipsis')
      for (let left = a.shape.length - taken; left > 0; left--)
        keep(Array.from({ length: a.shape[picks.length]! }, (_, i) => i))
    else if (v.kind === 'slice') keep(range(v, size, walk))
    else if ('at' in v) throw new ValueProblem('an integer or a slice', v.kind)
    else picks.push([position(integer(v, 'an index'), size)])
  }
  budget.spend(sizeOf(shape))
  const sizes = picks.map((p) => p.length)
  const out = gather(a, shape, (i) => {
    let [left, at, stride] = [i, 0, 1]
    for (let k = sizes.length - 1; k >= 0; k--) {
      at += picks[k]![left % sizes[k]!]! * stride
      left = Math.floor(left / sizes[k]!)
      stride *= a.shape[k]!
    }
    return at
  })
  return out
}

function position(i: number, size: number): number {
  if (i < -size || i >= size) throw new ValueProblem(`an index from ${-size} to ${size - 1}`, `${i}`)
  return i < 0 ? i + size : i
}

/** Python's slice.indices. */
function range(s: Node & { kind: 'slice' }, size: number, walk: (n: Node) => Value): number[] {
  const part = (n: Node | undefined): number | undefined => {
    const v = n && walk(n)
    return v === undefined || v.kind === 'none' ? undefined : integer(v, 'a slice')
  }
  const step = part(s.step) ?? 1
  if (step === 0) throw new ValueProblem('a step other than zero', 'zero')
  const clamp = (v: number | undefined, fallback: number): number => {
    if (v === undefined) return fallback
    const i = v < 0 ? v + size : v
    return step > 0 ? Math.min(Math.max(i, 0), size) : Math.min(Math.max(i, -1), size - 1)
  }
  const [start, stop] =
    step > 0
      ? [clamp(part(s.start), 0), clamp(part(s.stop), size)]
      : [clamp(part(s.start), size - 1), clamp(part(s.stop), -1)]
  const n = Math.max(0, Math.ceil((stop - start) / step))
  return Array.from({ length: n }, (_, i) => start + i * step)
}
