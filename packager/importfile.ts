import { readFileSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { AppError } from '../src/errors.ts'
import type { TensorSpec } from '../src/manifest.ts'
import { defaultOf } from '../src/session.ts'
import { DTYPES, sizeOf } from '../src/tensor.ts'
import type { Reporter } from './cli/reporter.ts'
import { signatureMetadata } from './formats/onnxmeta.ts'
import { ONNX_FROM } from './formats/proto/onnx.ts'
import { decode, type Int64, toNumber } from './formats/protobuf.ts'
import { importSource, weightBytes } from './import.ts'
import { countNodes, type PassReport } from './normalise/index.ts'
import { isStatic, type OnnxGraph } from './onnx/value.ts'
import { referenceTo, writeModel } from './onnx/write.ts'
import { isFolder } from './package/folder.ts'
import { defaultSignature } from './signatures.ts'
import { version } from './version.ts'

export interface ImportOptions {
  readonly signature?: string
  readonly tags: readonly string[]
  readonly outputs: readonly string[]
  /** of an architecture in JSON */
  readonly weights?: string
}

export interface ImportReport {
  readonly format: string
  readonly signature: string
  readonly signatures: readonly string[]
  readonly inputs: Readonly<Record<string, TensorSpec>>
  readonly outputs: Readonly<Record<string, TensorSpec>>
  readonly nodes: number
  readonly ops: Readonly<Record<string, number>>
  readonly parameters: number
  readonly weightBytes: number
  /** weights and the largest activations at batch 1 */
  readonly memoryBytes: number
  readonly passes: readonly PassReport[]
  /** of the file written; 0 where none was asked for */
  readonly bytes: number
}

/** What `modelayer import` does. Nothing is written when anything cannot be imported. @throws {AppError} as {@link importSource} */
export async function importToFile(
  path: string,
  file: string | undefined,
  o: ImportOptions,
  io: Reporter,
): Promise<ImportReport> {
  if (file !== undefined && !isFolder(dirname(file)))
    throw new AppError('USAGE', { where: '-o', expected: 'a file in a folder that exists', got: file })
  const source = await io.step('Read the model', () =>
    importSource(path, {
      ...(o.tags.length > 0 && { tags: o.tags }),
      ...(o.outputs.length > 0 && { outputs: o.outputs }),
      ...(o.weights !== undefined && { weights: o.weights }),
    }),
  )
  const name = o.signature ?? defaultSignature(source.signatures)
  const imported = await io.step(`Import ${name}`, () => source.import(name))
  const base = {
    format: source.format,
    signature: name,
    signatures: source.signatures,
    inputs: imported.signature.inputs,
    outputs: imported.signature.outputs,
  }
  if (imported.kind === 'file') {
    if (file)
      await io.step('Write', async () => {
        const { recast } = await import('./optimise.ts')
        await recast(imported.path, file)
      })
    const counted = measureFile(decode<OnnxFile>('onnx.ModelProto', readFileSync(imported.path), basename(path)))
    return { ...base, ...counted, passes: [], bytes: file ? statSync(file).size : 0 }
  }
  const graph = withDefaults(imported.graph, imported.signature.inputs)
  const metadata = signatureMetadata(imported.signature)
  for (const cut of file ? (imported.signature.cuts ?? []) : [])
    io.warn(
      `${cut.kind} is computed by modelayer before the graph runs: other runtimes take ${cut.outputs.map((o) => o.name).join(', ')} in the place of ${cut.inputs.join(', ')}.`,
    )
  if (file) {
    try {
      await io.step('Write', () => writeModel(file, graph, version(), metadata))
      await io.step('Load it once', async () => {
        const { check } = await import('./optimise.ts')
        await check(referenceTo(file, graph, version(), metadata), dirname(resolve(file)))
      })
    } catch (cause) {
      rmSync(file, { force: true })
      throw cause
    }
  }
  return { ...base, ...measure(graph), passes: imported.passes, bytes: file ? statSync(file).size : 0 }
}

/** In a file of its own an optional input carries its default as an initializer of the same name; in a package the manifest does. */
function withDefaults(graph: OnnxGraph, inputs: Readonly<Record<string, TensorSpec>>): OnnxGraph {
  const defaults = Object.entries(inputs).flatMap(([alias, i]) =>
    i.default ? [[i.name, defaultOf(alias, i)] as const] : [],
  )
  return defaults.length === 0 ? graph : { ...graph, initializers: new Map([...graph.initializers, ...defaults]) }
}

interface OnnxFile {
  graph: {
    node?: { op_type: string }[]
    initializer?: { dims?: Int64[]; data_type: number }[]
  }
}

function measureFile({ graph }: OnnxFile) {
  const ops: Record<string, number> = {}
  for (const n of graph.node ?? []) ops[n.op_type] = (ops[n.op_type] ?? 0) + 1
  let [parameters, weightBytes] = [0, 0]
  for (const t of graph.initializer ?? []) {
    const [n, dtype] = [sizeOf((t.dims ?? []).map(toNumber)), ONNX_FROM[t.data_type]]
    parameters += n
    weightBytes += dtype ? n * DTYPES[dtype].bytes : 0
  }
  return { nodes: graph.node?.length ?? 0, ops, parameters, weightBytes, memoryBytes: weightBytes }
}

function measure(graph: OnnxGraph) {
  const ops: Record<string, number> = {}
  count(graph, ops)
  let parameters = 0
  for (const t of graph.initializers.values()) parameters += t.data.length
  const weights = weightBytes(graph)
  let largest = 0
  for (const v of graph.info.values()) {
    const shape = v.shape?.map((d) => (typeof d === 'number' ? d : 1))
    if (shape && isStatic(shape) && !graph.initializers.has(v.name)) largest = Math.max(largest, sizeOf(shape) * 4)
  }
  return { nodes: countNodes(graph), ops, parameters, weightBytes: weights, memoryBytes: weights + 2 * largest }
}

function count(g: OnnxGraph, ops: Record<string, number>): void {
  for (const n of g.nodes) {
    ops[n.type] = (ops[n.type] ?? 0) + 1
    for (const a of Object.values(n.attrs)) if (typeof a === 'object' && 'nodes' in a) count(a, ops)
  }
}
