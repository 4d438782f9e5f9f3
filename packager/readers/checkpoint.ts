import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { type Bundle, openBundle } from '../formats/bundle.ts'
import { graphOf } from '../formats/graphdef.ts'
import { decode } from '../formats/protobuf.ts'
import type { TfModel, TfTensor } from '../graph.ts'
import { graphSignature } from './endpoints.ts'
import { assetsOf, type MetaGraph, signaturesOf } from './metagraph.ts'
import { CHECKPOINT_GRAPH, trackedKeys } from './objectgraph.ts'
import type { Reader, ReadOptions } from './reader.ts'
import { partitions } from './slices.ts'
import { variablesFrom } from './variables.ts'

const PART = /\.(index|meta|data-\d{5}-of-\d{5})$/

/** `PREFIX.meta` + `PREFIX.index` + shards, given by the prefix, by one of the files, or by the folder with its `checkpoint` file. */
export const CHECKPOINT: Reader = {
  name: 'TensorFlow checkpoint',
  files: 'the prefix of a checkpoint (.meta, .index and .data files)',
  match: (path) => prefixOf(path) !== undefined,
  open: (path, options) => ({ kind: 'tensorflow', model: readCheckpoint(prefixOf(path)!, options) }),
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile()
const isPrefix = (path: string): boolean => isFile(`${path}.index`) || isFile(`${path}.meta`)

/** The prefix that a path means: itself, a file of it, or the newest checkpoint of a folder. */
export function prefixOf(path: string): string | undefined {
  const prefix = path.replace(PART, '')
  if (isPrefix(prefix) && (prefix === path || isFile(path))) return prefix
  if (!existsSync(path)) return undefined
  if (basename(path) === 'checkpoint' && isFile(path)) return latest(dirname(path))
  return statSync(path).isDirectory() ? latest(path) : undefined
}

/** The `checkpoint` file of a training folder names the last one; a single one needs no such file. */
function latest(dir: string): string | undefined {
  const state = join(dir, 'checkpoint')
  if (isFile(state)) {
    const named = /^model_checkpoint_path:\s*"([^"]+)"/m.exec(readFileSync(state, 'utf8'))?.[1]
    // written on another machine, the path is absolute there
    const prefix = named && join(dir, basename(named))
    if (prefix && isPrefix(prefix)) return prefix
  }
  const prefixes = [
    ...new Set(
      readdirSync(dir)
        .filter((f) => f.endsWith('.index'))
        .map((f) => f.replace(PART, '')),
    ),
  ]
  return prefixes.length === 1 ? join(dir, prefixes[0]!) : undefined
}

function readCheckpoint(prefix: string, options: ReadOptions): TfModel {
  const name = basename(prefix)
  const file = `${prefix}.meta`
  if (!isFile(file)) throw noGraph(prefix, name)
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

/**
 * The values of a TF2 object checkpoint by their path in the object graph from its root, e.g. `layer_with_weights-0/kernel`; of a
 * TF1 checkpoint by variable name. An object that is reachable by several paths has each of them.
 * @throws {AppError} BAD_MODEL_FILE
 */
export function checkpointTensors(prefix: string): { paths: readonly string[]; read(path: string): TfTensor } {
  const bundle = openBundle(prefix)
  const keys = bundle.has(CHECKPOINT_GRAPH) ? trackedKeys(bundle) : new Map(bundle.keys.map((k) => [k, k]))
  return {
    paths: [...keys.keys()],
    read(path) {
      const key = keys.get(path)
      if (key !== undefined) return bundle.read(key)
      throw new AppError('CHECKPOINT_MISMATCH', {
        where: basename(prefix),
        expected: `a variable at ${path}`,
        got: `${keys.size} other paths`,
      })
    },
  }
}
