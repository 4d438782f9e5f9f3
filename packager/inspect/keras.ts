import { shown } from '../../src/shown.ts'
import type { KerasModel } from '../kerasmodel.ts'

export interface KerasLayer {
  readonly name: string
  readonly type: string
  /** the settings that say most about it */
  readonly detail: string
}

interface LayerConfig {
  readonly class_name?: unknown
  readonly name?: unknown
  readonly config?: unknown
}

/** The layers of a model in their order; a model inside a model is listed as a layer, then its layers under its name. */
export function layersOf(model: KerasModel['config'] | LayerConfig, prefix = ''): KerasLayer[] {
  const list = record(record(model).config).layers
  if (!Array.isArray(list)) return []
  return list.map(record).flatMap((l) => {
    const config = record(l.config)
    const name = `${prefix}${shown(config.name ?? l.name ?? '')}`
    return [{ name, type: shown(l.class_name ?? ''), detail: detailOf(config) }, ...layersOf(l, `${name}/`)]
  })
}

function record(v: unknown): Readonly<Record<string, unknown>> {
  return typeof v === 'object' && v !== null ? (v as Readonly<Record<string, unknown>>) : {}
}

const TELLING = [
  'batch_shape',
  'batch_input_shape',
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
