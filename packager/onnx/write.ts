import { closeSync, openSync, writevSync } from 'node:fs'
import { basename } from 'node:path'
import protobuf from 'protobufjs'
import { bytesOf, type Tensor } from '../../src/tensor.ts'
import { ONNX_DTYPES } from '../formats/proto/onnx.ts'
import { encode } from '../formats/protobuf.ts'
import { OPSET } from './builder.ts'
import { isGraph, type OnnxAttr, type OnnxGraph, type OnnxNode, type ValueInfo } from './value.ts'

/** IR version 9: the first that knows opset 20. */
const IR_VERSION = 9
/** LabelEncoder with lists of every kind came with version 2. */
const DOMAIN_VERSION: Readonly<Record<string, number>> = { 'ai.onnx.ml': 4 }
/** TensorProto.DataLocation */
const EXTERNAL = 1
const ATTR = { FLOAT: 1, INT: 2, STRING: 3, TENSOR: 4, GRAPH: 5, FLOATS: 6, INTS: 7, STRINGS: 8 } as const

/** Attributes that are floats by the operators' definitions; every other number is an integer. */
const FLOATS = new Set([
  'alpha',
  'beta',
  'gamma',
  'epsilon',
  'bias',
  'lambd',
  'momentum',
  'ratio',
  'spatial_scale',
  'extrapolation_value',
  'cubic_coeff_a',
  'norm_coefficient',
  'clip',
  'value_float',
  'value_floats',
  'default_float',
  'keys_floats',
  'values_floats',
  'activation_alpha',
  'activation_beta',
  'mean',
  'scale',
  'high',
  'low',
  'seed',
  'threshold',
  'scales',
])

/** Where a weight lies outside the graph file; undefined keeps it inside. */
type Place = (name: string, bytes: Uint8Array) => { readonly location: string; readonly offset: number } | undefined

interface Encoded {
  /** the file in order; weights are the tensors' own memory, so that writing never holds a second copy of them */
  readonly pieces: readonly Uint8Array[]
  /** where each weight starts in the file */
  readonly offsets: ReadonlyMap<string, number>
}

/** Entries for metadata_props. */
export type Metadata = Readonly<Record<string, string>>

export function encodeModel(
  graph: OnnxGraph,
  producerVersion: string,
  metadata: Metadata = {},
  place: Place = () => undefined,
): Encoded {
  const domains = new Set<string>()
  const head = encode('onnx.GraphProto', graphProto(graph, domains))
  const weights = [...graph.initializers].map(([name, t]) => ({ name, pieces: initializer(name, t, place) }))
  const size = head.length + weights.reduce((n, w) => n + length(w.pieces), 0)
  const model = encode('onnx.ModelProto', {
    ir_version: IR_VERSION,
    producer_name: 'modelayer',
    producer_version: producerVersion,
    opset_import: [
      { domain: '', version: OPSET },
      ...[...domains].filter((d) => d !== '').map((domain) => ({ domain, version: DOMAIN_VERSION[domain] ?? 1 })),
    ],
    metadata_props: Object.entries(metadata).map(([key, value]) => ({ key, value })),
  })
  const start = [model, field(7, size), head]
  const offsets = new Map<string, number>()
  let at = length(start)
  for (const { name, pieces } of weights) {
    at += length(pieces)
    offsets.set(name, at - pieces.at(-1)!.length)
  }
  return { pieces: [...start, ...weights.flatMap((w) => w.pieces)], offsets }
}

const length = (pieces: readonly Uint8Array[]): number => pieces.reduce((n, p) => n + p.length, 0)

export function writeModel(file: string, graph: OnnxGraph, producerVersion: string, metadata?: Metadata): void {
  const fd = openSync(file, 'w')
  try {
    writeAll(fd, encodeModel(graph, producerVersion, metadata).pieces)
  } finally {
    closeSync(fd)
  }
}

/** Weights up to here are copied into a reference; larger ones are pointed to. */
const POINT_FROM = 1024

/**
 * A second graph over the weights of a file that {@link writeModel} wrote: loading it maps the file instead of reading it,
 * so that checking a large model costs no memory.
 */
export function referenceTo(file: string, graph: OnnxGraph, producerVersion: string, metadata?: Metadata): Uint8Array {
  const { offsets } = encodeModel(graph, producerVersion, metadata)
  const place: Place = (name, bytes) =>
    bytes.length < POINT_FROM ? undefined : { location: basename(file), offset: offsets.get(name)! }
  return Buffer.concat(encodeModel(graph, producerVersion, metadata, place).pieces)
}

/** writev in groups the kernel takes (IOV_MAX is 1024), resumed where a write was short. */
function writeAll(fd: number, pieces: readonly Uint8Array[]): void {
  let rest = pieces.filter((p) => p.length > 0)
  while (rest.length > 0) {
    const group = rest.slice(0, 512)
    let written = writevSync(fd, group)
    let i = 0
    while (i < group.length && written >= group[i]!.length) written -= group[i++]!.length
    rest = rest.slice(i)
    if (written > 0) rest[0] = rest[0]!.subarray(written)
  }
}

/** Tag and length of a length-delimited field. */
function field(id: number, length: number): Uint8Array {
  return protobuf.Writer.create()
    .uint32((id << 3) | 2)
    .uint64(length)
    .finish()
}

function initializer(name: string, t: Tensor, place: Place): Uint8Array[] {
  const head = { name, dims: [...t.shape], data_type: ONNX_DTYPES[t.dtype] }
  if (t.dtype === 'string') {
    const proto = encode('onnx.TensorProto', {
      ...head,
      string_data: (t.data as string[]).map((s) => Buffer.from(s, 'utf8')),
    })
    return [field(5, proto.length), proto]
  }
  const raw = bytesOf(t)
  const outside = place(name, raw)
  if (outside) {
    const entries = { location: outside.location, offset: outside.offset, length: raw.length }
    const external_data = Object.entries(entries).map(([key, value]) => ({ key, value: String(value) }))
    const proto = encode('onnx.TensorProto', { ...head, data_location: EXTERNAL, external_data })
    return [field(5, proto.length), proto]
  }
  const proto = encode('onnx.TensorProto', head)
  const tag = field(9, raw.length)
  return [field(5, proto.length + tag.length + raw.length), proto, tag, raw]
}

function graphProto(g: OnnxGraph, domains: Set<string>): object {
  return {
    name: g.name,
    node: g.nodes.map((n) => nodeProto(n, domains)),
    input: g.inputs.map(infoProto),
    output: g.outputs.map(infoProto),
  }
}

function nodeProto(n: OnnxNode, domains: Set<string>): object {
  domains.add(n.domain)
  return {
    op_type: n.type,
    name: n.name,
    input: n.inputs,
    output: n.outputs,
    ...(n.domain !== '' && { domain: n.domain }),
    attribute: Object.entries(n.attrs).map(([name, a]) => attrProto(name, a, domains)),
  }
}

function attrProto(name: string, a: OnnxAttr, domains: Set<string>): object {
  if (typeof a === 'number') return FLOATS.has(name) ? { name, type: ATTR.FLOAT, f: a } : { name, type: ATTR.INT, i: a }
  if (typeof a === 'string') return { name, type: ATTR.STRING, s: Buffer.from(a) }
  if (Array.isArray(a)) {
    if (typeof a[0] === 'string') return { name, type: ATTR.STRINGS, strings: a.map((s) => Buffer.from(s)) }
    return FLOATS.has(name) ? { name, type: ATTR.FLOATS, floats: a } : { name, type: ATTR.INTS, ints: a }
  }
  if (isGraph(a)) return { name, type: ATTR.GRAPH, g: graphProto(a, domains) }
  const t = a as Tensor
  const data =
    t.dtype === 'string' ? { string_data: (t.data as string[]).map((s) => Buffer.from(s)) } : { raw_data: bytesOf(t) }
  return { name, type: ATTR.TENSOR, t: { dims: [...t.shape], data_type: ONNX_DTYPES[t.dtype], ...data } }
}

function infoProto(v: ValueInfo): object {
  const shape = v.shape && { dim: v.shape.map((d) => (typeof d === 'number' ? { dim_value: d } : { dim_param: d })) }
  const tensor = { tensor_type: { elem_type: ONNX_DTYPES[v.dtype], ...(shape && { shape }) } }
  return { name: v.name, type: v.sequence ? { sequence_type: { elem_type: tensor } } : tensor }
}
