import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { shown } from '../../src/shown.ts'
import { isZip, openArchive } from '../formats/archive.ts'
import { type Hdf5, isHdf5, openHdf5 } from '../formats/hdf5.ts'
import { isObject, type Json, type JsonObject } from '../formats/jsonvalue.ts'
import type { KerasModel, Variable, WeightStore } from '../kerasmodel.ts'
import { prefixOf } from './prefix.ts'
import type { Reader } from './reader.ts'
import { checkpointVariables } from './trackable.ts'

const CONFIG = 'config.json'
const WEIGHTS = 'model.weights.h5'

/** A .keras archive, the same unpacked, or an .h5 file that holds architecture and weights. */
export const KERAS: Reader = {
  name: 'Keras model',
  files: 'a .keras, .h5 or .hdf5 file with a whole Keras model',
  match(path) {
    if (!existsSync(path)) return false
    if (statSync(path).isDirectory()) return existsSync(join(path, CONFIG)) && existsSync(join(path, WEIGHTS))
    return /\.(keras|h5|hdf5)$/i.test(path)
  },
  open: async (path) => ({ kind: 'keras', model: await readKeras(path) }),
}

/** What model.to_json() gives, with weights in a file of their own. */
export const KERAS_ARCHITECTURE: Reader = {
  name: 'Keras architecture and weights',
  files: 'a .json of model.to_json() with its .weights.h5 beside it',
  match(path) {
    if (!path.endsWith('.json') || !existsSync(path) || statSync(path).isDirectory()) return false
    return /"class_name"\s*:/.test(head(path))
  },
  open: async (path, options) => ({ kind: 'keras', model: await readArchitecture(path, options.weights) }),
}

/** The beginning of a file: a configuration names its class in the first lines. */
function head(path: string): string {
  const fd = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(4096)
    return bytes.toString('utf8', 0, readSync(fd, bytes))
  } finally {
    closeSync(fd)
  }
}

/** A .keras archive, also unpacked, or an .h5 file with architecture and weights. @throws {AppError} */
async function readKeras(path: string): Promise<KerasModel> {
  const name = basename(path)
  if (statSync(path).isDirectory()) {
    const read = (file: string): Uint8Array | undefined =>
      existsSync(join(path, file)) ? readFileSync(join(path, file)) : undefined
    return fromFiles(name, read)
  }
  const bytes = readFileSync(path)
  if (isHdf5(bytes) || !name.endsWith('.keras')) return fromHdf5(name, await openHdf5(bytes, name))
  if (!isZip(bytes)) openArchive(bytes, name, () => false)
  const files = openArchive(
    bytes,
    name,
    (f) => f === CONFIG || f === 'metadata.json' || f === WEIGHTS || f.startsWith('assets/'),
  )
  return fromFiles(name, (file) => files.get(file))
}

async function fromFiles(name: string, read: (file: string) => Uint8Array | undefined): Promise<KerasModel> {
  const config = read(CONFIG)
  if (!config) throw new AppError('BAD_MODEL_FILE', { where: name, expected: `${CONFIG} inside`, got: 'none' })
  const weights = read(WEIGHTS)
  if (!weights) throw new AppError('BAD_MODEL_FILE', { where: name, expected: `${WEIGHTS} inside`, got: 'none' })
  const metadata = read('metadata.json')
  return {
    name,
    config: json(config, `${CONFIG} of ${name}`),
    keras: majorVersion(metadata && json(metadata, `metadata.json of ${name}`).keras_version),
    weights: pathStore(await openHdf5(weights, `${WEIGHTS} of ${name}`), `${WEIGHTS} of ${name}`),
    asset: (path) => {
      const bytes = read(`assets/${path}`)
      return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
    },
  }
}

function fromHdf5(name: string, file: Hdf5): KerasModel {
  const text = file.text('', 'model_config')
  if (typeof text !== 'string')
    throw new AppError('BAD_MODEL_FILE', {
      where: name,
      expected: 'a whole model (model_config)',
      got:
        file.has('layers') || file.has('_layer_checkpoint_dependencies') || file.text('', 'layer_names') !== undefined
          ? 'weights alone'
          : 'none',
      fix: 'Save the whole model, or import the architecture (model.to_json()) that lies beside the weights.',
    })
  return {
    name,
    config: json(Buffer.from(text), `model_config of ${name}`),
    keras: majorVersion(file.text('', 'keras_version')),
    weights: layerStore(file, 'model_weights', name),
    asset: () => undefined,
  }
}

/** An architecture in JSON with its weights beside it. @throws {AppError} MODEL_NOT_FOUND, MODEL_AMBIGUOUS */
async function readArchitecture(path: string, given?: string): Promise<KerasModel> {
  const name = basename(path)
  const config = json(readFileSync(path), name)
  const keras =
    config.keras_version === undefined ? (config.module === undefined ? 2 : 3) : majorVersion(config.keras_version)
  const beside = given ?? weightsBeside(path)
  const prefix = /\.(h5|hdf5)$/i.test(beside) ? undefined : prefixOf(beside)
  if (prefix) {
    const weights = {
      kind: 'names',
      file: `${basename(prefix)}.index`,
      variables: checkpointVariables(prefix),
    } as const
    return { name, config, keras, weights, asset: () => undefined }
  }
  const file = await openHdf5(readFileSync(beside), basename(beside))
  const weights: WeightStore =
    file.text('', 'layer_names') !== undefined || file.text('', 'layer_names0') !== undefined
      ? layerStore(file, '', basename(beside))
      : file.has('model_weights')
        ? layerStore(file, 'model_weights', basename(beside))
        : pathStore(file, basename(beside))
  return { name, config, keras, weights, asset: () => undefined }
}

function weightsBeside(path: string): string {
  const dir = dirname(path)
  const stem = basename(path).replace(/(\.config)?\.json$/, '')
  for (const name of [`${stem}.weights.h5`, `${stem}.h5`, `${stem}.hdf5`, `${stem}_weights.h5`, `${stem}-weights.h5`])
    if (existsSync(join(dir, name))) return join(dir, name)
  const others = readdirSync(dir).filter((f) => /\.(h5|hdf5)$/.test(f))
  const found = others.filter((f) => f.endsWith('.weights.h5'))
  const [only, ...more] = found.length > 0 ? found : others
  if (only !== undefined && more.length === 0) return join(dir, only)
  const checkpoint = only === undefined ? prefixOf(dir) : undefined
  if (checkpoint) return checkpoint
  throw new AppError(only === undefined ? 'MODEL_NOT_FOUND' : 'MODEL_AMBIGUOUS', {
    where: basename(path),
    expected: `its weights beside it, as ${stem}.weights.h5`,
    got: only === undefined ? 'no .h5 file and no checkpoint' : [only, ...more].join(', '),
  })
}

function pathStore(file: Hdf5, where: string): WeightStore {
  return { kind: 'paths', file: where, has: (path) => file.has(path), read: (path) => file.tensor(path) }
}

/** Lists longer than an attribute may be are cut into `weight_names0`, `weight_names1`, … */
function names(file: Hdf5, path: string, attribute: string): string[] {
  const whole = file.text(path, attribute)
  if (whole !== undefined) return [whole].flat()
  const out: string[] = []
  for (let i = 0; ; i++) {
    const part = file.text(path, `${attribute}${i}`)
    if (part === undefined) return out
    out.push(...[part].flat())
  }
}

function layerStore(file: Hdf5, group: string, where: string): WeightStore {
  const inside = (...parts: string[]): string => parts.filter((p) => p !== '').join('/')
  const layers = new Map(
    names(file, group, 'layer_names').map((layer): [string, Variable[]] => {
      const at = inside(group, layer)
      return [
        layer,
        names(file, at, 'weight_names').map((name) => ({ name, read: () => file.tensor(inside(at, name)) })),
      ]
    }),
  )
  return { kind: 'layers', file: where, layers }
}

function json(bytes: Uint8Array, where: string): JsonObject {
  let value: Json
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')) as Json
  } catch (cause) {
    throw new AppError('BAD_MODEL_FILE', {
      where,
      expected: 'JSON',
      got: cause instanceof Error ? cause.message.slice(0, 100) : 'something else',
      cause,
    })
  }
  if (isObject(value)) return value
  throw new AppError('BAD_MODEL_FILE', {
    where,
    expected: 'a JSON object',
    got: Array.isArray(value) ? 'a list' : typeof value,
  })
}

export function majorVersion(v: unknown): number {
  const major = Number.parseInt(shown(v ?? '3'), 10)
  return Number.isNaN(major) ? 3 : major
}
