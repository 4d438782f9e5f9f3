import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { strFromU8, unzipSync } from 'fflate'
import { AppError } from '../../src/errors.ts'

export interface KerasLayer {
  readonly name: string
  readonly type: string
  /** the settings that say most about it */
  readonly detail: string
}

interface LayerConfig {
  readonly class_name?: unknown
  readonly name?: unknown
  readonly config?: Readonly<Record<string, unknown>>
}

/** The layers of a .keras, .h5 or .json model in their order; undefined for other files. @throws {AppError} BAD_MODEL_FILE */
export async function kerasLayers(path: string): Promise<KerasLayer[] | undefined> {
  const kind = /\.(keras|h5|hdf5|json)$/i.exec(path)?.[1]?.toLowerCase()
  if (!kind || !existsSync(path) || !statSync(path).isFile() || /\.weights\.h5$/.test(path)) return undefined
  const where = basename(path)
  const text =
    kind === 'keras' ? fromZip(path, where) : kind === 'json' ? readFileSync(path, 'utf8') : await fromHdf5(path, where)
  try {
    const model = JSON.parse(text) as LayerConfig
    return layersOf(model, '')
  } catch (cause) {
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'the architecture as JSON', got: 'other text', cause })
  }
}

function fromZip(path: string, where: string): string {
  try {
    const files = unzipSync(readFileSync(path), { filter: (f) => f.name === 'config.json' && f.originalSize < 2 ** 27 })
    const config = files['config.json']
    if (config) return strFromU8(config)
  } catch (cause) {
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'a .keras file, which is a zip', got: 'no zip', cause })
  }
  throw new AppError('BAD_MODEL_FILE', { where, expected: 'config.json in the .keras file', got: 'none' })
}

async function fromHdf5(path: string, where: string): Promise<string> {
  const { File } = await import('jsfive')
  const bytes = readFileSync(path)
  try {
    const config = new File(Uint8Array.from(bytes).buffer, where).attrs.model_config
    if (typeof config === 'string') return config
  } catch (cause) {
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'a Keras .h5 file', got: 'another kind of file', cause })
  }
  throw new AppError('BAD_MODEL_FILE', {
    where,
    expected: 'a Keras .h5 file with its architecture',
    got: 'weights alone',
    fix: 'Save the whole model (model.save), or give its architecture as JSON (model.to_json).',
  })
}

/** A model inside a model is listed as a layer, then its layers under its name. */
function layersOf(model: LayerConfig, prefix: string): KerasLayer[] {
  const list = model.config?.layers
  if (!Array.isArray(list)) return []
  return (list as LayerConfig[]).flatMap((l) => {
    const name = `${prefix}${String(l.config?.name ?? l.name ?? '')}`
    return [{ name, type: String(l.class_name ?? ''), detail: detailOf(l.config ?? {}) }, ...layersOf(l, `${name}/`)]
  })
}

const TELLING = [
  'batch_shape',
  'batch_input_shape',
  'dtype',
  'units',
  'filters',
  'kernel_size',
  'pool_size',
  'rate',
  'input_dim',
  'output_dim',
  'target_shape',
  'activation',
]

function detailOf(config: Readonly<Record<string, unknown>>): string {
  const plain = (v: unknown) => v !== undefined && v !== null && (typeof v !== 'object' || Array.isArray(v))
  return TELLING.filter((key) => plain(config[key]))
    .map((key) => `${key} ${JSON.stringify(config[key])}`)
    .join(', ')
}
