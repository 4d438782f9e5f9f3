import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { type Bundle, openBundle } from '../formats/bundle.ts'
import { type GraphDef, graphOf } from '../formats/graphdef.ts'
import { tfDType } from '../formats/proto/tensorflow.ts'
import { decode } from '../formats/protobuf.ts'
import { decodeText } from '../formats/prototext.ts'
import { type ShapeProto, shapeOf, type TensorProto, tensorOf } from '../formats/tftensor.ts'
import type { SignatureTensor, TfModel, TfSignature } from '../graph.ts'
import { type ObjectGraph, objectGraphVariables } from './objectgraph.ts'
import { variablesFrom } from './variables.ts'

interface TensorInfo {
  name: string
  dtype: number
  tensor_shape?: ShapeProto
}
interface SignatureDef {
  inputs?: Record<string, TensorInfo>
  outputs?: Record<string, TensorInfo>
  method_name: string
  defaults?: Record<string, TensorProto>
}
export interface MetaGraph {
  meta_info_def?: { tags?: string[]; tensorflow_version?: string }
  graph_def?: GraphDef
  signature_def?: Record<string, SignatureDef>
  asset_file_def?: { tensor_info?: { name: string }; filename: string }[]
  object_graph_def?: ObjectGraph
}

export interface SavedModelOptions {
  /** the tag set; default: the only one, or the one with `serve` */
  readonly tags?: readonly string[]
}

/** The `saved_model.pb` or `saved_model.pbtxt` of a folder, undecoded signatures and all. @throws {AppError} BAD_MODEL_FILE, MODEL_NOT_FOUND */
export function readMetaGraphs(dir: string): MetaGraph[] {
  const [binary, text] = [join(dir, 'saved_model.pb'), join(dir, 'saved_model.pbtxt')]
  let model: { meta_graphs?: MetaGraph[] }
  if (existsSync(binary)) {
    if (statSync(binary).size === 0)
      throw new AppError('BAD_MODEL_FILE', { where: 'saved_model.pb', expected: 'a SavedModel', got: 'an empty file' })
    model = decode('tensorflow.SavedModel', readFileSync(binary), 'saved_model.pb')
  } else if (existsSync(text))
    model = decodeText('tensorflow.SavedModel', readFileSync(text, 'utf8'), 'saved_model.pbtxt')
  else
    throw new AppError('MODEL_NOT_FOUND', {
      where: dir,
      expected: 'saved_model.pb or saved_model.pbtxt',
      got: 'neither',
    })
  if (!model.meta_graphs?.length)
    throw new AppError('BAD_MODEL_FILE', {
      where: 'saved_model.pb',
      expected: 'a SavedModel with a MetaGraph',
      got: 'none',
    })
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

/** @param dir the folder of saved_model.pb. @throws {AppError} */
export function readSavedModel(dir: string, options: SavedModelOptions = {}): TfModel {
  const meta = chooseMetaGraph(readMetaGraphs(dir), options.tags)
  const graph = graphOf(meta.graph_def ?? {})
  const prefix = join(dir, 'variables', 'variables')
  let bundle: Bundle | undefined
  const open = (): Bundle => (bundle ??= openBundle(prefix))
  const objects = meta.object_graph_def
  return {
    graph,
    signatures: signaturesOf(meta),
    variable: variablesFrom(open, () =>
      objects?.nodes?.length ? objectGraphVariables(objects, graph, open()) : undefined,
    ),
    assets: assetsOf(dir, meta),
  }
}

function signaturesOf(meta: MetaGraph): Record<string, TfSignature> {
  const out: Record<string, TfSignature> = {}
  for (const [key, s] of Object.entries(meta.signature_def ?? {})) {
    const outputs = Object.values(s.outputs ?? {})
    // The init op appears as a signature whose only output is no tensor.
    if (outputs.length === 0 || outputs.every((o) => tfDType(o.dtype) === 'invalid')) continue
    out[key] = { method: s.method_name, inputs: infos(s.inputs, s.defaults), outputs: infos(s.outputs) }
  }
  return out
}

function infos(
  map: Record<string, TensorInfo> | undefined,
  defaults: Record<string, TensorProto> = {},
): Record<string, SignatureTensor> {
  return Object.fromEntries(
    Object.entries(map ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([alias, t]) => [
        alias,
        {
          tensor: t.name,
          dtype: tfDType(t.dtype),
          shape: shapeOf(t.tensor_shape ?? { unknown_rank: true }),
          ...(defaults[alias] && { default: tensorOf(defaults[alias], `default of ${alias}`) }),
        },
      ]),
  )
}

/** Asset texts by the name of the tensor that carries their path, and by file name. */
function assetsOf(dir: string, meta: MetaGraph): Map<string, string> {
  const out = new Map<string, string>()
  for (const a of meta.asset_file_def ?? []) {
    const file = join(dir, 'assets', a.filename)
    if (!existsSync(file)) continue
    const text = readFileSync(file, 'utf8')
    out.set(a.filename, text)
    if (a.tensor_info?.name) out.set(a.tensor_info.name, text)
  }
  return out
}
