import { type Tensor, tensor } from '../../src/tensor.ts'
import { UNARY } from '../onnx/elementwise.ts'
import { FOLD } from '../onnx/fold.ts'
import type { Dim, OnnxGraph, OnnxNode, ValueInfo } from '../onnx/value.ts'
import { Editor } from './edit.ts'

/**
 * Every convolution and pooling row turns NHWC to NCHW and back. This pass carries the way back (Transpose) down through whatever works
 * on single elements until it meets the next way there, and both vanish. What cannot be passed keeps its Transpose, so the pass never adds any.
 */
export function cancelTransposes(g: OnnxGraph): OnnxGraph {
  const e = new Editor(g)
  // Each round sinks a Transpose by at least one node, so the depth of the graph bounds the rounds.
  for (let changed = true, rounds = 0; changed && rounds < 10_000; rounds++) {
    changed = false
    for (let at = 0; at < e.nodes.length; at++) {
      const n = e.nodes[at]
      if (n && (n.type === 'Transpose' ? merge(e, n, at) : sink(e, n, at))) changed = true
    }
  }
  return e.done()
}

const SINKABLE: ReadonlySet<string> = new Set([
  ...UNARY,
  'Cast',
  'Not',
  'IsNaN',
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Pow',
  'Min',
  'Max',
  'Clip',
  'Where',
  'Equal',
  'Less',
  'LessOrEqual',
  'Greater',
  'GreaterOrEqual',
  'And',
  'Or',
  'PRelu',
])
const REDUCE: ReadonlySet<string> = new Set(['ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceSum', 'ReduceProd'])

interface Turned {
  readonly source: string
  readonly perm: readonly number[]
}

function turned(e: Editor, value: string): Turned | undefined {
  const made = e.maker(value)?.node
  return made?.type === 'Transpose' && Array.isArray(made.attrs.perm)
    ? { source: made.inputs[0]!, perm: made.attrs.perm as readonly number[] }
    : undefined
}

/** Two Transposes in a row are one, or none. */
function merge(e: Editor, n: OnnxNode, at: number): boolean {
  const before = turned(e, n.inputs[0]!)
  if (!before) return false
  const perm = (n.attrs.perm as readonly number[]).map((p) => before.perm[p]!)
  if (perm.some((p, i) => p !== i)) e.replace(at, { ...n, inputs: [before.source], attrs: { perm } })
  else if (e.isOutput(n.outputs[0]!)) e.replace(at, { ...n, type: 'Identity', inputs: [before.source], attrs: {} })
  else {
    e.replace(at, undefined)
    e.redirect(n.outputs[0]!, before.source)
  }
  return true
}

function sink(e: Editor, n: OnnxNode, at: number): boolean {
  if (n.domain !== '' || n.outputs.length !== 1) return false
  if (SINKABLE.has(n.type)) return elementwise(e, n, at)
  if (REDUCE.has(n.type) || n.type === 'Squeeze') return dropAxes(e, n, at)
  if (n.type === 'Concat') return concat(e, n, at)
  if (n.type === 'Unsqueeze') return unsqueeze(e, n, at)
  if (n.type === 'Pad') return pad(e, n, at)
  return false
}

/** Inputs that are not constants must all be turned the same way; at least one Transpose has to fall away, so that none is gained. */
function commonTurn(e: Editor, n: OnnxNode, values: readonly string[]): Turned['perm'] | undefined {
  const turns = values.filter((v) => !e.initializers.has(v)).map((v) => turned(e, v))
  const first = turns[0]
  if (
    !first ||
    turns.some((t) => !t || t.perm.length !== first.perm.length || t.perm.some((p, i) => p !== first.perm[i]))
  )
    return undefined
  const falls = values.some((v) => turned(e, v) && (e.isPrivate(v) || otherReadersCancel(e, v, n, first.perm)))
  return falls ? first.perm : undefined
}

/** The value's other readers are Transposes that undo it, or ops this pass sinks through: then nothing is left behind. */
function otherReadersCancel(e: Editor, value: string, self: OnnxNode, perm: readonly number[]): boolean {
  if (e.isOutput(value)) return false
  return e.readersOf(value).every((r) => {
    const n = e.nodes[r]
    if (!n || n === self) return true
    if (n.type === 'Transpose') return (n.attrs.perm as readonly number[]).every((p, i) => perm[p] === i)
    return SINKABLE.has(n.type) || REDUCE.has(n.type) || n.type === 'Concat'
  })
}

/** The node on unturned inputs, with the Transpose behind it. */
function rebuild(
  e: Editor,
  n: OnnxNode,
  at: number,
  inputs: readonly string[],
  attrs: OnnxNode['attrs'],
  perm: readonly number[],
): void {
  const out = n.outputs[0]!
  if (perm.every((p, i) => p === i)) {
    e.replace(at, { ...n, inputs, attrs })
    return
  }
  const info = e.info.get(out)
  const inner = e.value(`${out}/t`, unturn(info, perm))
  e.replace(at, { ...n, inputs, attrs, outputs: [inner] })
  e.add({
    type: 'Transpose',
    domain: '',
    name: e.name(`${out}/Transpose`),
    inputs: [inner],
    outputs: [out],
    attrs: { perm },
  })
}

/** What is known of the value before the Transpose. */
function unturn(info: ValueInfo | undefined, perm: readonly number[]): Omit<ValueInfo, 'name'> {
  const shape = info?.shape?.length === perm.length ? new Array<Dim>(perm.length) : undefined
  if (shape) for (const [i, p] of perm.entries()) shape[p] = info!.shape![i]!
  return { dtype: info?.dtype ?? 'float32', shape }
}

function elementwise(e: Editor, n: OnnxNode, at: number): boolean {
  const data = n.inputs.filter((i) => i !== '')
  const perm = commonTurn(e, n, data)
  if (!perm) return false
  const inputs: string[] = []
  for (const i of n.inputs) {
    const t = e.initializers.get(i)
    if (i === '') inputs.push('')
    else if (!t) inputs.push(turned(e, i)!.source)
    else {
      const unturned = unturnedConstant(t, perm)
      if (!unturned) return false
      inputs.push(unturned === t ? i : e.constant(`${i}/t`, unturned))
    }
  }
  rebuild(e, n, at, inputs, n.attrs, perm)
  return true
}

/** A constant that broadcasts against a turned value, as it must be to broadcast against the unturned one. */
function unturnedConstant(t: Tensor, perm: readonly number[]): Tensor | undefined {
  if (t.data.length === 1 && t.shape.length <= perm.length) return t.shape.length === 0 ? t : { ...t, shape: [] }
  if (t.shape.length > perm.length) return undefined
  const wide = [...Array<number>(perm.length - t.shape.length).fill(1), ...t.shape]
  const inverse = perm.map((_, i) => perm.indexOf(i))
  const [turnedBack] = FOLD.Transpose!([{ ...t, shape: wide }], { perm: inverse }, 1) ?? []
  return turnedBack
}

function axesOf(e: Editor, value: string | undefined): number[] | undefined {
  const t = value ? e.initializers.get(value) : undefined
  return t && Array.from(t.data as ArrayLike<number | bigint>, Number)
}

const int64s = (values: readonly number[]): Tensor =>
  tensor('int64', [values.length], BigInt64Array.from(values, BigInt))

/** Reduce and Squeeze: the axes by their places in the source; what stays keeps its order. */
function dropAxes(e: Editor, n: OnnxNode, at: number): boolean {
  const perm = commonTurn(e, n, [n.inputs[0]!])
  const axes = axesOf(e, n.inputs[1])
  if (!perm || !axes || axes.length === 0) return false
  const gone = axes.map((a) => perm[a < 0 ? a + perm.length : a]!).sort((a, b) => a - b)
  const inputs = [turned(e, n.inputs[0]!)!.source, e.constant(`${n.inputs[1]!}/t`, int64s(gone))]
  const kept = perm.filter((p) => !gone.includes(p))
  const rank = [...kept].sort((a, b) => a - b)
  const keeps = n.type !== 'Squeeze' && n.attrs.keepdims !== 0
  const left = keeps ? perm : kept.map((p) => rank.indexOf(p))
  rebuild(e, n, at, inputs, n.attrs, left)
  return true
}

function concat(e: Editor, n: OnnxNode, at: number): boolean {
  if (n.inputs.some((i) => e.initializers.has(i))) return false
  const perm = commonTurn(e, n, n.inputs)
  if (!perm) return false
  const axis = Number(n.attrs.axis)
  rebuild(
    e,
    n,
    at,
    n.inputs.map((i) => turned(e, i)!.source),
    { axis: perm[axis < 0 ? axis + perm.length : axis]! },
    perm,
  )
  return true
}

/** The new axis goes where its right-hand neighbour is in the source, so that the usual pairs cancel. */
function unsqueeze(e: Editor, n: OnnxNode, at: number): boolean {
  const perm = commonTurn(e, n, [n.inputs[0]!])
  const axes = axesOf(e, n.inputs[1])
  if (!perm || axes?.length !== 1) return false
  const rank = perm.length + 1
  const axis = axes[0]! < 0 ? axes[0]! + rank : axes[0]!
  const place = axis < perm.length ? perm[axis]! : perm.length
  const shifted = perm.map((p) => (p >= place ? p + 1 : p))
  const next = [...shifted.slice(0, axis), place, ...shifted.slice(axis)]
  rebuild(e, n, at, [turned(e, n.inputs[0]!)!.source, e.constant(`${n.inputs[1]!}/t`, int64s([place]))], n.attrs, next)
  return true
}

function pad(e: Editor, n: OnnxNode, at: number): boolean {
  const perm = commonTurn(e, n, [n.inputs[0]!])
  const pads = axesOf(e, n.inputs[1])
  if (!perm || pads?.length !== 2 * perm.length || n.inputs.length > 3) return false
  const moved = new Array<number>(pads.length)
  for (const [i, p] of perm.entries()) {
    moved[p] = pads[i]!
    moved[p + perm.length] = pads[i + perm.length]!
  }
  rebuild(
    e,
    n,
    at,
    [turned(e, n.inputs[0]!)!.source, e.constant(`${n.inputs[1]!}/t`, int64s(moved)), ...n.inputs.slice(2)],
    n.attrs,
    perm,
  )
  return true
}
