import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { type Bundle, openBundle } from '../formats/bundle.ts'
import { graphOf } from '../formats/graphdef.ts'
import { decode } from '../formats/protobuf.ts'
import type { TfModel } from '../graph.ts'
import { graphSignature } from './endpoints.ts'
import { KERAS_ARCHITECTURE } from './keras.ts'
import { assetsOf, type MetaGraph, signaturesOf } from './metagraph.ts'
import { CHECKPOINT_GRAPH } from './objectgraph.ts'
import { prefixOf } from './prefix.ts'
import type { Reader, ReadOptions } from './reader.ts'
import { partitions } from './slices.ts'
import { variablesFrom } from './variables.ts'

/** `PREFIX.meta` + `PREFIX.index` + shards, given by the prefix, by one of the files, or by the folder with its `checkpoint` file. */
export const CHECKPOINT: Reader = {
  name: 'TensorFlow checkpoint',
  files: 'the prefix of a checkpoint (.meta, .index and .data files)',
  match: (path) => prefixOf(path) !== undefined,
  open(path, options) {
    const prefix = prefixOf(path)!
    const architecture = existsSync(`${prefix}.meta`) ? undefined : architectureBeside(prefix)
    if (architecture) return KERAS_ARCHITECTURE.open(architecture, { ...options, weights: prefix })
    return { kind: 'tensorflow', model: readCheckpoint(prefix, options) }
  },
}

/** Architectures are called so by Keras and by those who save them beside the weights. */
function architectureBeside(prefix: string): string | undefined {
  const dir = dirname(prefix)
  const files = readdirSync(dir).filter((f) => f.endsWith('.json') && KERAS_ARCHITECTURE.match(join(dir, f)))
  return files.length === 1 ? join(dir, files[0]!) : undefined
}

function readCheckpoint(prefix: string, options: ReadOptions): TfModel {
  const name = basename(prefix)
  const file = `${prefix}.meta`
  if (!existsSync(file)) throw noGraph(prefix, name)
  const bytes = readFileSync(file)
  const meta = decode<MetaGraph>('tensorflow.MetaGraphDef', bytes, `${name}.meta`)
  if (!meta.graph_def?.node?.length)
    throw new AppError('BAD_MODEL_FILE', { where: `${name}.meta`, expected: 'a graph with nodes', got: 'none' })
  const graph = graphOf(meta.graph_def)
  let bundle: Bundle | undefined
  const open = (): Bundle => (bundle ??= openBundle(prefix))
  const named = options.outputs?.length ? {} : signaturesOf(meta)
  const signatures = Object.keys(named).length
    ? named
    : { serving_default: graphSignature(graph, `${name}.meta`, options.outputs, meta.graph_def.versions?.producer) }
  return {
    graph,
    signatures,
    variable: variablesFrom(open, { parts: () => partitions(meta, graph) }),
    restored: (key) => (open().has(key) ? open().read(key) : undefined),
    assets: assetsOf(dirname(prefix), meta),
  }
}

/** Values without a graph: what is missing depends on who wrote them. */
function noGraph(prefix: string, name: string): AppError {
  const object = openBundle(prefix).has(CHECKPOINT_GRAPH)
  return new AppError('MODEL_NOT_FOUND', {
    where: `${name}.index`,
    expected: `${name}.meta with the graph beside it`,
    got: object
      ? 'an object checkpoint (tf.train.Checkpoint, save_weights), which holds variables and no architecture'
      : 'values alone',
    fix: object
      ? 'Give a SavedModel (model.export, tf.saved_model.save), a .keras file, or the architecture as JSON (model.to_json) beside the checkpoint.'
      : 'Copy the .meta file of the training run as well, or give a SavedModel.',
  })
}
