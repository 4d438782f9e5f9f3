import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { type Bundle, openBundle } from '../formats/bundle.ts'
import { graphOf } from '../formats/graphdef.ts'
import { decode } from '../formats/protobuf.ts'
import { decodeText } from '../formats/prototext.ts'
import type { TfGraph, TfModel, TfNode, TfSignature, TfTensor } from '../graph.ts'
import { namedOutputs } from './endpoints.ts'
import { calledFunctions } from './functions.ts'
import { assetFiles, assetsOf, initOpOf, type MetaGraph, signaturesOf, withAssetNames } from './metagraph.ts'
import { checkpointKeys, objectGraphVariables } from './objectgraph.ts'
import type { Reader, ReadOptions } from './reader.ts'
import { partitions } from './slices.ts'
import { variablesFrom } from './variables.ts'

const NAMES = ['saved_model.pb', 'saved_model.pbtxt'] as const

/** Given by its folder, or by the file in it. */
export const SAVED_MODEL: Reader = {
  name: 'SavedModel',
  files: 'a folder with saved_model.pb or saved_model.pbtxt',
  match: (path) => fileOf(path) !== undefined,
  open: (path, options) => {
    const file = fileOf(path)!
    return { kind: 'tensorflow', model: readSavedModel(dirname(file), options, basename(file)) }
  },
}

function fileOf(path: string): string | undefined {
  if (!existsSync(path)) return undefined
  if (!statSync(path).isDirectory()) return NAMES.some((n) => n === basename(path)) ? path : undefined
  return NAMES.map((n) => join(path, n)).find((f) => existsSync(f))
}

/** Every MetaGraph of a `saved_model.pb` or `saved_model.pbtxt`. @throws {AppError} BAD_MODEL_FILE */
export function readMetaGraphs(file: string): MetaGraph[] {
  const where = basename(file)
  const bytes = readFileSync(file)
  if (bytes.length === 0)
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'a SavedModel', got: 'an empty file' })
  const type = 'tensorflow.SavedModel'
  const model = where.endsWith('.pb')
    ? decode<{ meta_graphs?: MetaGraph[] }>(type, bytes, where)
    : decodeText<{ meta_graphs?: MetaGraph[] }>(type, bytes.toString('utf8'), where)
  if (!model.meta_graphs?.length)
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'a SavedModel with a MetaGraph', got: 'none' })
  return model.meta_graphs
}

/** @throws {AppError} MODEL_AMBIGUOUS when the tags do not choose exactly one */
export function chooseMetaGraph(graphs: readonly MetaGraph[], tags?: readonly string[]): MetaGraph {
  const tagsOf = (g: MetaGraph) => g.meta_info_def?.tags ?? []
  const spelled = graphs.map((g) => `[${tagsOf(g).join(', ')}]`).join(' ')
  const wanted = tags ?? (graphs.length === 1 ? tagsOf(graphs[0]!) : ['serve'])
  const found = graphs.filter((g) => tagsOf(g).length === wanted.length && wanted.every((t) => tagsOf(g).includes(t)))
  if (found.length === 1) return found[0]!
  throw new AppError('MODEL_AMBIGUOUS', {
    where: 'saved_model.pb',
    expected: `one MetaGraph with the tags [${wanted.join(', ')}]`,
    got: spelled,
    fix: 'Choose a tag set with --tag (once for each tag).',
  })
}

/** @param dir holds `file`, variables/ and assets/. @throws {AppError} BAD_MODEL_FILE, MODEL_AMBIGUOUS */
export function readSavedModel(dir: string, options: ReadOptions = {}, file: string = NAMES[0]): TfModel {
  const meta = chooseMetaGraph(readMetaGraphs(join(dir, file)), options.tags)
  const main = graphOf(withAssetNames(meta))
  const objects = meta.object_graph_def?.nodes?.length ? meta.object_graph_def : undefined
  const named = signaturesOf(meta)
  const assets = assetFiles(meta).map((a) => a.filename)
  const called = objects && Object.keys(named).length === 0 ? calledFunctions(objects, main, assets) : undefined
  const graph = called?.graph ?? main
  let bundle: Bundle | undefined
  const open = (): Bundle => (bundle ??= openBundle(join(dir, 'variables', 'variables')))
  const variables = (): Map<string, string> => {
    if (!objects) return new Map()
    const keys = called && checkpointKeys(objects, open())
    const captured = [...(called?.variables ?? [])].map(([node, id]) => [node, keys?.get(id) ?? ''] as const)
    return new Map([...objectGraphVariables(objects, graph, open()), ...captured])
  }
  const outputs = options.outputs?.length ? namedOutputs(graph, options.outputs, file) : undefined
  const signatures = called?.signatures ?? named
  return {
    graph,
    signatures: outputs ? withOutputs(signatures, outputs) : signatures,
    initOp: initOpOf(meta),
    variable: variablesFrom(open, {
      objects: variables,
      parts: () => partitions(meta, graph),
      initial: (node) => assigned(node, graph),
    }),
    restored: (key) => (open().has(key) ? open().read(key) : undefined),
    assets: assetsOf(dir, meta),
  }
}

/** TF2 keeps the path of an asset in a variable, which the init op assigns; no checkpoint holds it. */
function assigned(node: TfNode, graph: TfGraph): TfTensor | undefined {
  for (const n of graph.nodes.values()) {
    if (n.op !== 'AssignVariableOp' || n.inputs[0]?.node !== node.name) continue
    const value = graph.nodes.get(n.inputs[1]?.node ?? '')?.attrs.value
    if (typeof value === 'object' && 'tensor' in value) return value.tensor
  }
  return undefined
}

/** Inner tensors instead of the outputs, for what is behind them and cannot be imported. */
function withOutputs(
  signatures: Readonly<Record<string, TfSignature>>,
  outputs: TfSignature['outputs'],
): Record<string, TfSignature> {
  return Object.fromEntries(Object.entries(signatures).map(([name, s]) => [name, { ...s, outputs }]))
}
