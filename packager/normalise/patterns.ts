import { type Tensor, tensor } from '../../src/tensor.ts'
import type { OnnxGraph, OnnxNode } from '../onnx/value.ts'
import { Editor } from './edit.ts'

/** What Keras writes out in many nodes and ONNX says in one. */
export function foldPatterns(g: OnnxGraph): OnnxGraph {
  const e = new Editor(g)
  for (let at = 0; at < e.nodes.length; at++) {
    const n = e.nodes[at]
    if (n?.domain !== '') continue
    if (n.type === 'Reshape') foldTensordot(e, n, at)
    else if (n.type === 'Add') foldLayerNorm(e, n, at)
  }
  return e.done()
}

const made = (e: Editor, value: string | undefined, type: string): OnnxNode | undefined => {
  const node = value === undefined ? undefined : e.maker(value)?.node
  return node?.type === type && node.domain === '' ? node : undefined
}

/**
 * Reshape([batch…, k]) → MatMul with a k × n matrix → Reshape([batch…, n]): a product over the last dimension, which MatMul does as it is.
 * The names of unknown dimensions prove that the second Reshape restores what the first one flattened.
 */
function foldTensordot(e: Editor, n: OnnxNode, at: number): void {
  const product = made(e, n.inputs[0], 'MatMul')
  const flat = product && made(e, product.inputs[0], 'Reshape')
  const matrix = product && e.initializers.get(product.inputs[1]!)
  if (!product || !flat || matrix?.shape.length !== 2 || !e.isPrivate(n.inputs[0]!)) return
  const [from, middle, to] = [flat.inputs[0]!, flat.outputs[0]!, n.outputs[0]!].map((v) => e.info.get(v)?.shape)
  if (!from || !to || middle?.length !== 2 || from.length < 2 || to.length !== from.length) return
  const [k, size] = matrix.shape as [number, number]
  if (from.at(-1) !== k || middle[1] !== k || to.at(-1) !== size) return
  if (from.slice(0, -1).some((d, i) => d !== to[i])) return
  e.replace(at, {
    ...product,
    name: e.name(`${n.name}/MatMul`),
    inputs: [flat.inputs[0]!, product.inputs[1]!],
    outputs: n.outputs,
  })
}

/**
 * x · s + (b - mean · s) with s = g / √(variance + ε), mean and variance over the last dimension: LayerNormalization.
 * Keras writes it so since its statistics are those of BatchNormalization.
 */
function foldLayerNorm(e: Editor, n: OnnxNode, at: number): void {
  for (const [i, k] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const found = layerNorm(e, n.inputs[i]!, n.inputs[k]!)
    if (!found) continue
    const { x, scale, bias, epsilon } = found
    const inputs = [x, e.constant(`${n.name}/scale`, scale), e.constant(`${n.name}/bias`, bias)]
    e.replace(at, {
      type: 'LayerNormalization',
      domain: '',
      name: n.name,
      inputs,
      outputs: n.outputs,
      attrs: { axis: -1, epsilon },
    })
    return
  }
}

interface Norm {
  readonly x: string
  readonly scale: Tensor
  readonly bias: Tensor
  readonly epsilon: number
}

function layerNorm(e: Editor, scaledX: string, shift: string): Norm | undefined {
  const [left, right] = [made(e, scaledX, 'Mul'), made(e, shift, 'Add')]
  if (!left || !right) return undefined
  for (const [x, s] of pairs(left.inputs)) {
    const [gain, inverse] = constantOf(e, made(e, s, 'Mul'))
    const root = made(e, made(e, inverse, 'Reciprocal')?.inputs[0], 'Sqrt')
    const [epsilon, variance] = constantOf(e, made(e, root?.inputs[0], 'Add'))
    const [bias, moved] = constantOf(e, right)
    if (!gain || !epsilon || epsilon.data.length !== 1 || !bias || !moved) continue
    // -mean · s, with the sign on either factor
    const product = made(e, moved, 'Mul')
    const mean =
      product && pairs(product.inputs).flatMap(([p, q]) => (q === s ? (made(e, p, 'Neg')?.inputs[0] ?? []) : []))[0]
    if (!mean || !isMean(e, mean, x) || !isVariance(e, variance, x, mean)) continue
    const size = e.info.get(x)?.shape?.at(-1)
    if (typeof size !== 'number' || gain.dtype !== 'float32' || bias.dtype !== 'float32') continue
    const flat = (t: Tensor): Tensor | undefined =>
      t.data.length === size && t.shape.at(-1) === size ? tensor('float32', [size], t.data) : undefined
    const [scale, offset] = [flat(gain), flat(bias)]
    if (scale && offset) return { x, scale, bias: offset, epsilon: Number(epsilon.data[0]) }
  }
  return undefined
}

const pairs = ([a, b]: readonly string[]) => [[a!, b!] as const, [b!, a!] as const]

/** The constant operand of a node and the other one. */
function constantOf(e: Editor, n: OnnxNode | undefined): readonly [Tensor | undefined, string | undefined] {
  for (const [c, other] of n ? pairs(n.inputs) : []) if (e.initializers.has(c)) return [e.initializers.get(c), other]
  return [undefined, undefined]
}

function isMean(e: Editor, value: string | undefined, of: string): boolean {
  const n = made(e, value, 'ReduceMean')
  const axes = n && e.initializers.get(n.inputs[1] ?? '')
  const rank = e.info.get(of)?.shape?.length
  if (!n || !axes || axes.data.length !== 1 || rank === undefined || n.inputs[0] !== of || n.attrs.keepdims === 0)
    return false
  const axis = Number(axes.data[0])
  return axis === -1 || axis === rank - 1
}

function isVariance(e: Editor, value: string | undefined, x: string, mean: string): boolean {
  const squares = made(e, made(e, value, 'ReduceMean')?.inputs[0], 'Mul')
  if (!squares || squares.inputs[0] !== squares.inputs[1] || !isMean(e, value, squares.outputs[0]!)) return false
  const difference = made(e, squares.inputs[0], 'Sub')
  return difference !== undefined && pairs(difference.inputs).some(([a, b]) => a === x && b === mean)
}
