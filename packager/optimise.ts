import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { InferenceSession } from 'onnxruntime-node'
import { silenceTelemetry } from '../src/boot.ts'
import { AppError } from '../src/errors.ts'
import { type OnnxGraphTensors, type OnnxNodeTensors, type OnnxTensor, takeInside } from './formats/onnxdata.ts'
import { decode, encode, type Int64, toNumber } from './formats/protobuf.ts'
import type { WeightsFile } from './onnx/weightsfile.ts'

interface ModelProto {
  graph: Omit<OnnxGraphTensors, 'node'> & {
    node: (OnnxNodeTensors & { op_type: string; domain: string; doc_string: string })[]
    initializer: OnnxTensor[]
    value_info?: unknown[]
    doc_string?: string
  }
  opset_import: { domain: string; version: Int64 }[]
}

export interface Optimised {
  /** nodes after onnxruntime's own passes */
  readonly nodes: number
  /** op types, for what depends on them (an empty batch kills Resize) */
  readonly ops: ReadonlySet<string>
}

/**
 * Optimises a graph ahead of time and moves its weights to the shared file. Level `extended`: what `all` writes holds weights in the block
 * layout of this machine's CPU and is silently wrong on another. @throws {AppError} LOAD_FAILED when onnxruntime refuses the graph
 */
export async function optimise(source: string, target: string, weights: WeightsFile): Promise<Optimised> {
  silenceTelemetry()
  const scratch = mkdtempSync(join(tmpdir(), 'modelayer-'))
  const file = join(scratch, 'optimised.onnx')
  try {
    await load(source, { graphOptimizationLevel: 'extended', optimizedModelFilePath: file })
    return rewrite(readFileSync(file), source, target, weights)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/**
 * An ONNX file of any opset as onnxruntime writes it again: upgraded where it is old, constants folded, external weights inside. Level `basic`
 * keeps to the operators of the standard. @throws {AppError} LOAD_FAILED
 */
export async function recast(source: string, target: string): Promise<void> {
  silenceTelemetry()
  await load(source, { graphOptimizationLevel: 'basic', optimizedModelFilePath: target })
  const model = decode<ModelProto>('onnx.ModelProto', readFileSync(target), target)
  takeInside(model.graph, dirname(source), basename(source))
  writeFileSync(target, encode('onnx.ModelProto', model))
}

/**
 * Loads a graph that was just written, so that nothing is called imported which onnxruntime refuses.
 * @param folder where the weights lie that the graph points to
 */
export async function check(graph: Uint8Array, folder: string): Promise<void> {
  silenceTelemetry()
  const session = { disable_prepacking: '1', model_external_initializers_file_folder_path: folder }
  await load(graph, { graphOptimizationLevel: 'disabled', extra: { session } })
}

async function load(model: string | Uint8Array, options: InferenceSession.SessionOptions): Promise<void> {
  const all = { ...options, intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4 } as const
  const create = typeof model === 'string' ? InferenceSession.create(model, all) : InferenceSession.create(model, all)
  const session = await create.catch((cause: unknown) => {
    throw new AppError('LOAD_FAILED', {
      where: typeof model === 'string' ? model : 'the imported graph',
      expected: 'a graph that onnxruntime accepts',
      got: cause instanceof Error ? cause.message : String(cause),
      cause,
    })
  })
  await session.release()
}

function rewrite(bytes: Uint8Array, source: string, target: string, weights: WeightsFile): Optimised {
  const model = decode<ModelProto>('onnx.ModelProto', bytes, 'the optimised graph')
  const { graph } = model
  // what lies beside the source is still only pointed to
  takeInside(graph, dirname(source), basename(source))
  // The order of initializers comes from a hash table; two builds must give the same bytes.
  graph.initializer.sort((a, b) => (a.name < b.name ? -1 : 1))
  weights.take(graph.initializer)
  graph.value_info = []
  model.opset_import.sort((a, b) => (a.domain < b.domain ? -1 : 1))
  const used = new Set(graph.node.map((n) => n.domain))
  model.opset_import = model.opset_import.filter(
    (o) => o.domain === '' || used.has(o.domain) || toNumber(o.version) === 0,
  )
  writeFileSync(target, encode('onnx.ModelProto', model))
  return { nodes: graph.node.length, ops: new Set(graph.node.map((n) => n.op_type)) }
}
