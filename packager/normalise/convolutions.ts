import { type Tensor, tensor } from '../../src/tensor.ts'
import type { OnnxGraph, OnnxNode } from '../onnx/value.ts'
import { Editor } from './edit.ts'

/** What follows a convolution channel by channel moves into its weights: BatchNormalization with constant statistics, and scales and biases. */
export function foldIntoConvolutions(g: OnnxGraph): OnnxGraph {
  const e = new Editor(g)
  for (let at = 0; at < e.nodes.length; at++) {
    const n = e.nodes[at]
    if (n?.domain !== '') continue
    if (n.type === 'BatchNormalization') foldNorm(e, n, at)
    else if (n.type === 'Add' || n.type === 'Mul') foldArithmetic(e, n, at)
  }
  return e.done()
}

interface Filter {
  readonly conv: OnnxNode
  readonly at: number
  readonly weights: Tensor
  readonly bias: Tensor | undefined
}

/** A convolution that only `value`'s reader uses, with constant float32 weights. */
function filterOf(e: Editor, value: string): Filter | undefined {
  const made = e.maker(value)
  if (made?.node.type !== 'Conv' || !e.isPrivate(value)) return undefined
  const weights = e.initializers.get(made.node.inputs[1]!)
  const biasName = made.node.inputs[2]
  const bias = biasName ? e.initializers.get(biasName) : undefined
  if (weights?.dtype !== 'float32' || (biasName && !bias)) return undefined
  return { conv: made.node, at: made.at, weights, bias }
}

/** Puts the mended convolution where the follower was. */
function fuse(
  e: Editor,
  f: Filter,
  follower: OnnxNode,
  at: number,
  weights: Tensor | undefined,
  bias: Float32Array,
): void {
  const w = weights ? e.constant(`${f.conv.inputs[1]!}/folded`, weights) : f.conv.inputs[1]!
  const b = e.constant(`${f.conv.name}/bias`, tensor('float32', [bias.length], bias))
  if (f.at !== at) e.replace(f.at, undefined)
  e.replace(at, { ...f.conv, inputs: [f.conv.inputs[0]!, w, b], outputs: follower.outputs })
}

function foldNorm(e: Editor, n: OnnxNode, at: number): void {
  const f = filterOf(e, n.inputs[0]!)
  const [scale, shift, mean, variance] = n.inputs.slice(1).map((i) => e.initializers.get(i)?.data)
  if (
    !f ||
    !(
      scale instanceof Float32Array &&
      shift instanceof Float32Array &&
      mean instanceof Float32Array &&
      variance instanceof Float32Array
    )
  )
    return
  const epsilon = typeof n.attrs.epsilon === 'number' ? n.attrs.epsilon : 1e-5
  const factor = (c: number) => scale[c]! / Math.sqrt(variance[c]! + epsilon)
  const bias = mapBias(f, (b, c) => (b - mean[c]!) * factor(c) + shift[c]!)
  fuse(e, f, n, at, scaled(f.weights, factor), bias)
}

const channelsOf = (f: Filter): number => f.weights.shape[0]!

function mapBias(f: Filter, change: (before: number, channel: number) => number): Float32Array {
  const before = f.bias?.data as Float32Array | undefined
  return Float32Array.from({ length: channelsOf(f) }, (_, c) => change(before?.[c] ?? 0, c))
}

function scaled(weights: Tensor, factor: (channel: number) => number): Tensor {
  const old = weights.data as Float32Array
  const per = old.length / weights.shape[0]!
  const data = new Float32Array(old.length)
  for (let i = 0; i < data.length; i++) data[i] = old[i]! * factor(Math.floor(i / per))
  return { ...weights, data }
}

/** x × c or x + c with a constant for each channel: what Keras writes for BatchNormalization, and for a bias. */
function foldArithmetic(e: Editor, n: OnnxNode, at: number): void {
  const side = e.initializers.has(n.inputs[1]!) ? 1 : e.initializers.has(n.inputs[0]!) ? 0 : undefined
  if (side === undefined) return
  const value = n.inputs[1 - side]!
  // A one-dimensional convolution is a two-dimensional one with its extra axis squeezed away again.
  const squeeze = squeezeOf(e, value)
  const f = filterOf(e, squeeze ? squeeze.node.inputs[0]! : value)
  const constant = f && perChannel(e.initializers.get(n.inputs[side]!)!, f, squeeze?.axes ?? [])
  if (!f || !constant) return
  const [weights, bias] =
    n.type === 'Mul'
      ? [scaled(f.weights, constant), mapBias(f, (b, c) => b * constant(c))]
      : [undefined, mapBias(f, (b, c) => b + constant(c))]
  if (!squeeze) {
    fuse(e, f, n, at, weights, bias)
    return
  }
  const middle = e.value(f.conv.outputs[0]!, e.info.get(f.conv.outputs[0]!) ?? { dtype: 'float32', shape: undefined })
  fuse(e, f, { ...n, outputs: [middle] }, f.at, weights, bias)
  e.replace(squeeze.at, undefined)
  e.replace(at, { ...squeeze.node, inputs: [middle, squeeze.node.inputs[1]!], outputs: n.outputs })
}

/** The constant by channel, if it broadcasts along channels only. */
function perChannel(t: Tensor, f: Filter, squeezed: readonly number[]): ((channel: number) => number) | undefined {
  if (!(t.data instanceof Float32Array)) return undefined
  const rank = f.weights.shape.length
  const wide = [...Array<number>(Math.max(0, rank - squeezed.length - t.shape.length)).fill(1), ...t.shape]
  for (const axis of squeezed) wide.splice(axis, 0, 1)
  if (wide.length !== rank || wide.some((d, i) => d !== 1 && (i !== 1 || d !== channelsOf(f)))) return undefined
  const values = t.data
  return (c) => values[values.length === 1 ? 0 : c]!
}

/** A Squeeze with known axes, in ascending order, that only `value`'s reader uses. */
function squeezeOf(e: Editor, value: string): { node: OnnxNode; at: number; axes: number[] } | undefined {
  const made = e.maker(value)
  const axes = made && e.initializers.get(made.node.inputs[1] ?? '')
  if (made?.node.type !== 'Squeeze' || !axes || !e.isPrivate(value)) return undefined
  const list = Array.from(axes.data as ArrayLike<bigint>, Number).sort((a, b) => a - b)
  return list.every((a) => a >= 0) ? { ...made, axes: list } : undefined
}
