import { AppError } from '../../src/errors.ts'
import { type DType, type Tensor, tensor } from '../../src/tensor.ts'
import { ONNX_DTYPES } from '../formats/proto/onnx.ts'
import { FOLD_LIMIT } from './cells.ts'
import { FOLD, FOLD_ANY_SIZE } from './fold.ts'
import { INFER } from './infer.ts'
import { type Detour, detour } from './kernels.ts'
import { partOf } from './partial.ts'
import { type Inferred, storageShape } from './shapes.ts'
import type { Dim, OnnxAttr, OnnxGraph, Shape, Value, ValueDType, ValueInfo } from './value.ts'
import { storageDType, Values } from './values.ts'

/** The one opset that everything is emitted in. 20: Gelu, DFT with an axis input, StringSplit, RegexFullMatch; every row of onnxruntime's fusions still applies. */
export const OPSET = 20

export interface OutType {
  readonly dtype: ValueDType
  readonly shape: Shape | undefined
  readonly sequence?: boolean
}

type Input = Value | undefined
/** Ops that pass values through whatever they are; everything else would mistake a complex number's trailing pair for a dimension. */
const CARRIES: ReadonlySet<string> = new Set(['Identity', 'If', 'Loop', 'Scan'])

/**
 * Builds an ONNX graph node by node. Every helper returns a {@link Value} with dtype and shape; constants are folded as they arise,
 * so rows see `data` wherever TensorFlow's graph computes something constant.
 */
export class Builder extends Values {
  // ---- nodes --------------------------------------------------------------------------------------------------------------

  /** One node with one output. `out` overrides inference; it is needed for ops without a row in INFER. */
  op(type: string, inputs: readonly Input[], attrs: Record<string, OnnxAttr> = {}, out?: OutType): Value {
    return this.ops(type, inputs, attrs, 1, out && [out])[0]!
  }

  /** One node with `count` outputs. */
  ops(
    type: string,
    inputs: readonly Input[],
    attrs: Record<string, OnnxAttr>,
    count: number,
    outs?: readonly OutType[],
    domain = '',
  ): Value[] {
    const trimmed = [...inputs]
    while (trimmed.length > 0 && trimmed.at(-1) === undefined) trimmed.pop()
    const complex = trimmed.find((v) => v?.dtype === 'complex64' || v?.dtype === 'complex128')
    if (complex && !CARRIES.has(type))
      throw new AppError('UNSUPPORTED_OPS', { where: `node ${this.at}`, expected: 'real numbers', got: complex.dtype })
    const folded = domain === '' ? this.fold(type, trimmed, attrs, count) : undefined
    if (folded) return folded
    const types: readonly (OutType | Inferred)[] = outs ?? this.infer(type, trimmed, attrs, count)
    const wide = domain === '' ? detour(type, trimmed, this.at) : undefined
    if (wide) return this.widened(wide, type, trimmed, attrs, types)
    const part = count === 1 && domain === '' ? partOf(type, trimmed, attrs, types[0]!, () => this.fresh()) : undefined
    const known = part && this.constPart(part, types[0]!)
    if (known) return [known]
    const base = this.at || type
    const outputs = types.map((t, i): Value => {
      const name = this.name(count === 1 ? base : `${base}:${i}`)
      const value: Value = {
        kind: 'tensor',
        name,
        dtype: t.dtype,
        shape: t.shape,
        ...(t.sequence && { sequence: true }),
        ...(part && { part }),
      }
      this.learn(value)
      return value
    })
    this.nodes.push({
      type,
      domain,
      name: this.name(`${base}/${type}`),
      inputs: trimmed.map((v) => (v ? this.use(v) : '')),
      outputs: outputs.map((o) => o.name),
      attrs,
    })
    return outputs
  }

  /** Computes in a dtype that onnxruntime has a kernel for, and casts back. */
  private widened(
    { from, to, first }: Detour,
    type: string,
    inputs: readonly Input[],
    attrs: Record<string, OnnxAttr>,
    types: readonly OutType[],
  ): Value[] {
    const wide = inputs.map((v, i) => (i >= first && v?.dtype === from ? this.cast(v, to) : v))
    const outs = types.map((t) => (t.dtype === from ? { ...t, dtype: to } : t))
    return this.ops(type, wide, attrs, types.length, outs).map((v, i) =>
      types[i]!.dtype === v.dtype ? v : this.cast(v, types[i]!.dtype as DType),
    )
  }

  /** A subgraph for If, Loop and Scan; outer values can be used inside by what they are. */
  subgraph(name: string, body: (b: Builder) => readonly Value[]): OnnxGraph {
    const inner = new Builder(this)
    return inner.close(name, body(inner))
  }

  /** Ends a subgraph. ONNX wants every result to be made inside and to have a name of its own. */
  close(name: string, results: readonly Value[]): OnnxGraph {
    const taken = new Set<string>()
    const outputs = results.map((v) => {
      const info = this.output(v, taken.has(v.name) ? this.name(`${v.name}/out`) : undefined)
      taken.add(info.name)
      return info
    })
    return this.finish(name, outputs)
  }

  /** A dimension as int64 vector of length 1: a number, or an unknown one read off any value at hand that has it. */
  dimValue(d: Dim): Value | undefined {
    if (typeof d === 'number') return this.ints([d])
    const found = this.holder(d)
    if (!found) return undefined
    const axis = found.shape!.indexOf(d)
    return this.op('Shape', [{ kind: 'tensor', ...found }], { start: axis, end: axis + 1 })
  }

  /** A value that is an output of this graph: constants, inputs and outer values pass through Identity, as ONNX demands. */
  output(v: Value, name?: string): ValueInfo {
    const own = this.nodes.some((n) => n.outputs.includes(v.name))
    const taken = name !== undefined || !own || v.data !== undefined
    const shape = storageShape(v.dtype, v.shape)
    const dtype = storageDType(v.dtype)
    const info = (n: string): ValueInfo => ({ name: n, dtype, shape, ...(v.sequence && { sequence: true }) })
    if (!taken) return info(v.name)
    const out = name ?? this.name(`${v.name}/out`)
    this.nodes.push({
      type: 'Identity',
      domain: '',
      name: this.name(`${out}/Identity`),
      inputs: [this.use(v)],
      outputs: [out],
      attrs: {},
    })
    this.info.set(out, info(out))
    return info(out)
  }

  finish(name: string, outputs: readonly ValueInfo[]): OnnxGraph {
    const initializers = this.parent ? new Map<string, Tensor>() : this.shared.initializers
    return { name, nodes: this.nodes, inputs: this.inputs, outputs, initializers, info: this.info }
  }

  // ---- the helpers that every row uses --------------------------------------------------------------------------------------

  cast(v: Value, dtype: DType): Value {
    if (v.dtype === dtype) return v
    return this.op('Cast', [v], { to: ONNX_DTYPES[dtype] }, { dtype, shape: v.shape })
  }

  shapeOf(v: Value): Value {
    return this.op('Shape', [v])
  }

  reshape(v: Value, shape: Value | readonly number[]): Value {
    return this.op('Reshape', [v, Array.isArray(shape) ? this.ints(shape) : (shape as Value)])
  }

  transpose(v: Value, perm: readonly number[]): Value {
    if (perm.every((p, i) => p === i)) return v
    return this.op('Transpose', [v], { perm })
  }

  squeeze(v: Value, axes: readonly number[]): Value {
    return axes.length === 0 ? v : this.op('Squeeze', [v, this.ints(axes)])
  }

  unsqueeze(v: Value, axes: readonly number[]): Value {
    return axes.length === 0 ? v : this.op('Unsqueeze', [v, this.ints(axes)])
  }

  concat(values: readonly Value[], axis: number): Value {
    return values.length === 1 ? values[0]! : this.op('Concat', values, { axis })
  }

  slice(
    v: Value,
    starts: readonly number[],
    ends: readonly number[],
    axes: readonly number[],
    steps?: readonly number[],
  ): Value {
    return this.op('Slice', [v, this.ints(starts), this.ints(ends), this.ints(axes), steps && this.ints(steps)])
  }

  gather(v: Value, indices: Value, axis = 0): Value {
    return this.op('Gather', [v, indices], { axis })
  }

  /** The size of one dimension as an int64 vector of length 1. */
  dim(v: Value, axis: number): Value {
    return this.slice(this.shapeOf(v), [axis], [axis === -1 ? 2 ** 31 - 1 : axis + 1], [0])
  }

  /** The rank, or the error that says this node needs it. */
  rank(v: Value): number {
    if (v.shape) return v.shape.length
    throw new AppError('UNSUPPORTED_OPS', {
      where: `node ${this.at}`,
      expected: 'a tensor of known rank',
      got: 'unknown rank',
      fix: 'Export the model with an input signature that states its rank.',
    })
  }

  // ---- inside -------------------------------------------------------------------------------------------------------------

  private fold(
    type: string,
    inputs: readonly Input[],
    attrs: Record<string, OnnxAttr>,
    count: number,
  ): Value[] | undefined {
    const rule = FOLD[type]
    if (!rule) return undefined
    const data: (Tensor | undefined)[] = []
    let size = 0
    for (const v of inputs) {
      if (v && (!v.data || v.dtype !== v.data.dtype)) return undefined
      data.push(v?.data)
      size += v?.data?.data.length ?? 0
    }
    if (inputs.length === 0 || (size > FOLD_LIMIT && !FOLD_ANY_SIZE.has(type))) return undefined
    const out = rule(data, attrs, count)
    return out?.map((t) => this.const(t))
  }

  private infer(type: string, inputs: readonly Input[], attrs: Record<string, OnnxAttr>, count: number): Inferred[] {
    const rule = INFER[type]
    if (!rule)
      throw new AppError('INTERNAL', {
        where: `node ${this.at}`,
        expected: `an output type for ${type}`,
        got: 'no inference row',
      })
    const types = rule(inputs as Value[], attrs, this)
    if (types.length < count)
      throw new AppError('INTERNAL', {
        where: `node ${this.at}`,
        expected: `${count} outputs of ${type}`,
        got: `${types.length}`,
      })
    return types.slice(0, count)
  }

  private constPart(part: readonly Dim[], t: OutType): Value | undefined {
    if (!part.every((d) => typeof d === 'number')) return undefined
    const array = t.dtype === 'int32' ? Int32Array.from(part as number[]) : BigInt64Array.from(part as number[], BigInt)
    return this.const(tensor(t.dtype as DType, t.shape?.length === 0 ? [] : [part.length], array))
  }
}
