import { createHash } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Manifest } from '../../src/manifest.ts'
import { type OnnxGraphTensors, type OnnxNodeTensors, type OnnxTensor, takeInside } from '../formats/onnxdata.ts'
import { ONNX_DTYPES } from '../formats/proto/onnx.ts'
import { decode, encode, toNumber } from '../formats/protobuf.ts'
import { WEIGHTS, WeightsFile } from '../onnx/weightsfile.ts'
import { channelsOf, KEEP, type NodeProto, type WeightsKind } from './kinds.ts'

/** Smaller ones are biases and constants, where a bit of precision costs more than its bytes. */
const FROM = 1024

interface Graph extends OnnxGraphTensors {
  node: OnnxNodeTensors[]
  initializer: OnnxTensor[]
  input?: { name: string }[]
}

/** A staged model with its large float32 weights kept in fewer bits. The folder's manifest says so and fits its files again. */
export function shrinkStaged(dir: string, kind: WeightsKind): Manifest {
  const manifest = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as Manifest
  const graphs = [...new Set(Object.values(manifest.signatures).map((s) => s.graph))]
  const files: Record<string, string> = { ...manifest.files }
  const fresh = new WeightsFile(dir, `${WEIGHTS}.new`)
  try {
    for (const graph of graphs) {
      const model = decode<{ graph: Graph }>('onnx.ModelProto', readFileSync(join(dir, graph)), graph)
      takeInside(model.graph, dir, graph)
      shrinkGraph(model.graph, kind)
      fresh.take(model.graph.initializer)
      writeFileSync(join(dir, graph), encode('onnx.ModelProto', model))
      files[graph] = sha256(join(dir, graph))
    }
  } finally {
    fresh.close()
  }
  rmSync(join(dir, WEIGHTS))
  renameSync(join(dir, `${WEIGHTS}.new`), join(dir, WEIGHTS))
  files[WEIGHTS] = sha256(join(dir, WEIGHTS))
  // folding happens at this level; at 'disabled' each request would make the weights anew
  const changed: Manifest = { ...manifest, files, session: { ...manifest.session, level: 'basic' } }
  writeFileSync(join(dir, 'manifest.json'), `${JSON.stringify(changed, null, 1)}\n`)
  return changed
}

export function shrinkGraph(graph: Graph, kind: WeightsKind): void {
  const inputs = new Set(graph.input?.map((i) => i.name))
  const uses = new Map<string, { node: NodeProto; input: number }[]>()
  for (const node of graph.node as NodeProto[])
    for (const [input, name] of (node.input ?? []).entries())
      uses.set(name, [...(uses.get(name) ?? []), { node, input }])
  const kept: OnnxTensor[] = []
  const nodes: NodeProto[] = []
  for (const t of graph.initializer) {
    const dims = (t.dims ?? []).map(toNumber)
    const values = floats(t)
    const made =
      values && values.length >= FROM && !inputs.has(t.name)
        ? KEEP[kind](t, values, dims, channelsOf(dims.length, uses.get(t.name) ?? []))
        : undefined
    kept.push(...(made?.tensors ?? [t]))
    nodes.push(...(made?.nodes ?? []))
  }
  graph.initializer = kept
  graph.node.unshift(...(nodes as OnnxNodeTensors[]))
}

function floats(t: OnnxTensor): Float32Array | undefined {
  const raw = t.raw_data
  if (t.data_type !== ONNX_DTYPES.float32 || !raw) return undefined
  const aligned = raw.byteOffset % 4 === 0 ? raw : Uint8Array.from(raw)
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4)
}

const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')
