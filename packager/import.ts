import { basename } from 'node:path'
import { CUTS } from '../src/cuts.ts'
import { AppError } from '../src/errors.ts'
import { fromBfloat } from '../src/half.ts'
import type { Signature, TensorSpec } from '../src/manifest.ts'
import { bytesOf, DTYPES, type DType, type Tensor } from '../src/tensor.ts'
import { carried, carriedDType } from './carried.ts'
import { Converter, refuse } from './convert.ts'
import { cutSpec, specShape, withoutCutInputs } from './cuts.ts'
import { parseRef } from './formats/graphdef.ts'
import type { Ref, SignatureTensor, TfModel, TfSignature } from './graph.ts'
import { importKeras, KERAS_SIGNATURE } from './keras.ts'
import { type PassReport, simplify } from './normalise/index.ts'
import { Builder } from './onnx/builder.ts'
import type { Dim, OnnxGraph, Value, ValueInfo } from './onnx/value.ts'
import { constant } from './ops/core.ts'
import type { Out } from './ops/op.ts'
import { type ModelSource, openSource, type ReadOptions } from './readers/index.ts'
import { structured } from './structure/index.ts'

/** One signature as ONNX: inputs and outputs are named by the aliases that clients use. */
export type Imported = ImportedGraph | ImportedFile

/** An .onnx file is taken as it is; onnxruntime upgrades what is old when it optimises. */
export interface ImportedFile {
  readonly kind: 'file'
  readonly path: string
  readonly signature: Omit<Signature, 'graph'>
}

export interface ImportedGraph {
  readonly kind: 'graph'
  readonly graph: OnnxGraph
  /** with what the runtime computes before session.run, where ONNX cannot */
  readonly signature: Omit<Signature, 'graph'>
  readonly passes: readonly PassReport[]
}

/**
 * One signature of a TensorFlow model as an ONNX graph.
 * @throws {AppError} UNSUPPORTED_OPS listing every operator at once; CHECKPOINT_MISMATCH, BAD_MODEL_FILE
 */
export function importSignature(model: TfModel, name: string, signature: TfSignature): ImportedGraph {
  const b = new Builder()
  const outputNames = reserveNames(b, signature)
  const converter = new Converter(model, b)
  const feeds = new Map<string, Out>()
  const inputs: Record<string, TensorSpec> = {}
  for (const [alias, info] of Object.entries(signature.inputs)) {
    const { value, spec } = feed(alias, info, model, b)
    const ref = parseRef(info.tensor)
    feeds.set(`${ref.node}:${ref.index}`, value)
    inputs[alias] = spec
  }
  const wanted = Object.entries(signature.outputs)
  const values = converter.run(
    model.graph.nodes,
    feeds,
    wanted.map(([, info]) => parseRef(info.tensor)),
    b,
  )
  refuse(converter.problems)
  const infos: ValueInfo[] = []
  const outputs: Record<string, TensorSpec> = {}
  for (const [i, [alias, info]] of wanted.entries()) {
    const value = values[i]!
    if (value.kind !== 'tensor')
      throw new AppError('UNSUPPORTED_OPS', {
        where: `output '${alias}'`,
        expected: 'a tensor',
        got: value.kind === 'handle' ? `a ${value.type}` : 'a value that no input reaches',
      })
    const out = b.output(carried(refined(value, info, b), b), outputNames.get(alias)!)
    infos.push(out)
    const shape = specShape(out.shape)
    const declared = info.shape ?? null
    outputs[alias] = {
      name: out.name,
      source: info.tensor,
      dtype: out.dtype,
      shape,
      ...(JSON.stringify(shape) !== JSON.stringify(declared) && { declared }),
    }
  }
  const { graph, passes } = simplify(b.finish(name, infos))
  const { cuts } = converter
  for (const [alias, spec] of Object.entries(inputs))
    if (spec.dtype === 'string' && cuts.some((c) => CUTS[c.kind]?.bytes && c.inputs.some((v) => v.name === spec.name)))
      inputs[alias] = { ...spec, bytes: true }
  return {
    kind: 'graph',
    graph: withoutCutInputs(graph, cuts),
    signature: { method: signature.method, inputs, outputs, ...(cuts.length > 0 && { cuts: cuts.map(cutSpec) }) },
    passes,
  }
}

/** Aliases belong to clients. An output that has the name of an input gets another graph name; the manifest keeps the alias. */
function reserveNames(b: Builder, s: TfSignature): Map<string, string> {
  for (const alias of Object.keys(s.inputs)) b.reserve(alias)
  return new Map(
    Object.keys(s.outputs).map((alias) => {
      let name = alias
      for (let i = 1; !b.reserve(name); i++) name = `${alias}_out${i === 1 ? '' : i}`
      return [alias, name]
    }),
  )
}

function feed(alias: string, info: SignatureTensor, model: TfModel, b: Builder): { value: Value; spec: TensorSpec } {
  const dtype = info.dtype
  if (!Object.hasOwn(DTYPES, dtype))
    throw new AppError('UNSUPPORTED_OPS', { where: `input '${alias}'`, expected: 'numbers or strings', got: dtype })
  const node = model.graph.nodes.get(parseRef(info.tensor).node)
  if (!node)
    throw new AppError('BAD_MODEL_FILE', {
      where: `input '${alias}'`,
      expected: `a node for ${info.tensor}`,
      got: 'none',
    })
  const shape = info.shape?.map((d, i): Dim => d ?? `${alias}_${i}`)
  let initial: Tensor | undefined
  if (info.default) initial = carriedConstant(constant(info.default, b).data)
  else if (node.op === 'PlaceholderWithDefault') initial = carriedConstant(constantAt(node.inputs[0]!, model))
  const carriedAs = carriedDType(dtype as DType)
  const sent = b.input(alias, carriedAs, shape)
  const value = b.cast(sent, dtype as DType)
  const fallback = initial && { optional: true, default: { shape: initial.shape, values: plainValues(initial) } }
  return {
    value,
    spec: { name: alias, source: info.tensor, dtype: carriedAs, shape: info.shape ?? null, ...fallback },
  }
}

function carriedConstant(t: Tensor | undefined): Tensor | undefined {
  if (t?.dtype !== 'bfloat16') return t
  return { dtype: 'float32', shape: t.shape, data: Float32Array.from(t.data as Uint16Array, fromBfloat) }
}

/** A default that is computed from other inputs is none: then the input is required. The walk is its own, so its problems are nobody's. */
function constantAt(ref: Ref, model: TfModel): Tensor | undefined {
  const b = new Builder()
  const [value] = new Converter(model, b).run(model.graph.nodes, new Map(), [ref], b)
  return value?.kind === 'tensor' ? value.data : undefined
}

/** For the manifest: JSON has no integers past 2^53. */
function plainValues(t: Tensor): (number | string)[] {
  return Array.from(t.data as ArrayLike<number | bigint | string>, (v) =>
    typeof v === 'bigint' ? (Number.isSafeInteger(Number(v)) ? Number(v) : String(v)) : v,
  )
}

/** The signature may know dimensions that inference lost. */
function refined(v: Value, info: SignatureTensor, b: Builder): Value {
  if (v.shape || !info.shape || v.data) return v
  return b.as(v, { shape: info.shape.map((d) => d ?? b.fresh()) })
}

/** Bytes of all weights of a graph. */
export function weightBytes(graph: OnnxGraph): number {
  let n = 0
  for (const t of graph.initializers.values())
    n += t.dtype === 'string' ? (t.data as string[]).reduce((s, x) => s + x.length, 0) : bytesOf(t).length
  return n
}

/** A model that was opened: its signatures, and each of them as ONNX on demand. */
export interface Source {
  readonly format: string
  readonly signatures: readonly string[]
  /** what metadata of TensorFlow 2 lists beside them */
  readonly initOp?: string
  /** @throws {AppError} UNKNOWN_SIGNATURE, UNSUPPORTED_OPS, CHECKPOINT_MISMATCH, BAD_MODEL_FILE */
  import(signature: string): Imported
}

/** What each kind of source offers, and how one entry of it becomes ONNX. */
const KINDS = {
  tensorflow: ({ model: read }: SourceOf<'tensorflow'>) => {
    const model = { ...read, graph: structured(read.graph) }
    return {
      signatures: Object.keys(model.signatures),
      initOp: model.initOp,
      import: (name: string): Imported => importSignature(model, name, model.signatures[name]!),
    }
  },
  keras: ({ model }: SourceOf<'keras'>) => ({
    signatures: [KERAS_SIGNATURE],
    import: (): Imported => importKeras(model),
  }),
  file: ({ path, signature }: SourceOf<'file'>) => ({
    signatures: ['serving_default'],
    import: (): Imported => ({ kind: 'file', path, signature }),
  }),
} satisfies { [K in ModelSource['kind']]: (source: SourceOf<K>) => Omit<Source, 'format'> }

type SourceOf<K> = Extract<ModelSource, { kind: K }>

/** @throws {AppError} MODEL_NOT_FOUND, MODEL_AMBIGUOUS, BAD_MODEL_FILE */
export async function importSource(path: string, options: ReadOptions = {}): Promise<Source> {
  const { format, source } = await openSource(path, options)
  const offered = (KINDS[source.kind] as (s: ModelSource) => Omit<Source, 'format'>)(source)
  const check = (name: string): void => {
    if (offered.signatures.includes(name)) return
    throw new AppError('UNKNOWN_SIGNATURE', {
      where: basename(path),
      expected: offered.signatures.join(', ') || 'a model with signatures',
      got: `'${name}'`,
    })
  }
  if (offered.signatures.length === 0) check('serving_default')
  return {
    format,
    signatures: offered.signatures,
    initOp: offered.initOp,
    import: (name) => {
      check(name)
      return offered.import(name)
    },
  }
}
