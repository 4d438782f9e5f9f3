import { AppError } from '../../../src/errors.ts'
import { nearest } from '../../../src/nearest.ts'
import { shown } from '../../../src/shown.ts'
import { DTYPES, type DType } from '../../../src/tensor.ts'
import { isObject, type JsonObject } from '../../formats/jsonvalue.ts'
import { Config } from './config.ts'
import { LAYERS, OPERATION_ROWS } from './index.ts'
import type { KLayer, LayerRow } from './layer.ts'

/** Models are layers with layers inside; what they compute is in graph.ts. */
const MODELS = new Set(['Functional', 'Model', 'Sequential'])
const MAX_DEPTH = 64

export interface LayerProblem {
  readonly type: string
  readonly name: string
  readonly why: string
  readonly fix?: string
}

export function isModel(type: string): boolean {
  return MODELS.has(type)
}

/** The layers of a model's config. @throws {AppError} BAD_MODEL_FILE */
export function layersOf(c: Config): JsonObject[] {
  const layers = c.get('layers')
  if (Array.isArray(layers) && layers.every(isObject)) return layers as JsonObject[]
  throw c.bad('layers', 'a list of layers', layers)
}

/** Names under which Keras exports classes that are called otherwise. */
const EXPORTED: Readonly<Record<string, string>> = { GroupQueryAttention: 'GroupedQueryAttention' }

/** Keras' own rule for names in weight files (utils/naming.py). */
function snakeCase(name: string): string {
  return name
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase()
}

const OWN_MODULES = /^(keras|tensorflow|tf_keras|builtins)(\.|$)/

/** A class of the author's own, by the name it is registered under; Keras gives its own classes a module. */
function customName(json: JsonObject): string | undefined {
  const { module, registered_name: registered } = json
  const type = shown(json.class_name)
  if (typeof module === 'string' && OWN_MODULES.test(module)) {
    const foreign = typeof registered === 'string' && registered.includes('>') && !/^keras/i.test(registered)
    return foreign ? registered : undefined
  }
  if (typeof registered === 'string') return registered
  if (typeof module === 'string') return `${module}>${type}`
  return type.includes('>') ? type : undefined
}

export function isOperation(json: JsonObject): boolean {
  const { module } = json
  const type = shown(json.class_name)
  if (typeof module === 'string') return /\.(ops|activations)(\.|$)/.test(module) && !/\.layers/.test(module)
  // files without modules: layers say whether they are trainable, operations have no such thing
  const config = isObject(json.config) ? json.config : {}
  return OPERATION_ROWS[type] !== undefined && !('trainable' in config)
}

const POLICIES: Readonly<Record<string, DType>> = { mixed_float16: 'float16', mixed_bfloat16: 'bfloat16' }

/** The dtype a layer computes in. */
function computeDType(c: Config, inherited: DType): DType | { readonly refused: string } {
  const given = c.get('dtype')
  if (given === undefined) return inherited
  const inner = isObject(given) && isObject(given.config) ? given.config : undefined
  if (isObject(given) && (shown(given.class_name).startsWith('Quantized') || inner?.mode))
    return { refused: shown(inner?.mode ?? given.class_name) }
  const name = typeof given === 'string' ? given : shown(inner?.name ?? 'float32')
  if (/_from_/.test(name)) return { refused: name }
  const dtype = POLICIES[name] ?? name
  return Object.hasOwn(DTYPES, dtype) ? (dtype as DType) : inherited
}

/** Builds the tree of layers; everything that has no row is collected. */
export class Tree {
  readonly problems: LayerProblem[] = []
  readonly root: KLayer
  private readonly shared = new Map<number, KLayer>()

  constructor(json: JsonObject, where: string) {
    this.root = this.layer(json, { path: '', dtype: 'float32', trainable: true, depth: 0, where })
  }

  private layer(json: JsonObject, at: Place): KLayer {
    if (typeof json.class_name !== 'string')
      throw new AppError('BAD_MODEL_FILE', { where: at.where, expected: 'a layer with class_name', got: 'none' })
    if (at.depth > MAX_DEPTH)
      throw new AppError('BAD_MODEL_FILE', {
        where: at.where,
        expected: `at most ${MAX_DEPTH} layers inside each other`,
        got: 'more',
      })
    const id = json.shared_object_id
    const known = typeof id === 'number' ? this.shared.get(id) : undefined
    if (known) return known
    // a Sequential of early Keras was its list of layers
    const inner: JsonObject = Array.isArray(json.config)
      ? { layers: json.config }
      : isObject(json.config)
        ? json.config
        : {}
    const name = shown(inner.name ?? json.name ?? json.class_name)
    const config = new Config(inner, `${shown(json.class_name)} layer '${name}'`)
    const dtype = computeDType(config, at.dtype)
    if (typeof dtype === 'object')
      this.problem(json, name, `weights quantised as ${dtype.refused}`, 'Import the model as it was before quantize().')
    const row = this.rowOf(json, name)
    const children = new Map<string, KLayer>()
    const trainable = at.trainable && inner.trainable !== false
    const layer: KLayer = {
      type: json.class_name,
      name,
      config,
      row,
      children,
      path: at.path,
      dtype: typeof dtype === 'object' ? 'float32' : dtype,
      trainable,
      json,
    }
    if (typeof id === 'number') this.shared.set(id, layer)
    row.children?.(config, (attr, child, container) => {
      const unique = container ? `${container.name}/${uniqueName(snakeCase(className(child)), container.used)}` : attr
      const path = at.path === '' ? unique : `${at.path}/${unique}`
      children.set(
        unique,
        this.layer(child, { path, dtype: layer.dtype, trainable, depth: at.depth + 1, where: config.where }),
      )
    })
    return layer
  }

  private rowOf(json: JsonObject, name: string): LayerRow {
    const type = className(json)
    const custom = customName(json)
    if (custom !== undefined) {
      this.problem(
        json,
        name,
        'a class of the author, which the file only names',
        'Build the model from layers of Keras, or export it with model.export() as a SavedModel.',
        custom,
      )
      return UNKNOWN
    }
    if (isModel(type)) {
      if (!isObject(json.config) || !('layers' in json.config)) {
        if (Array.isArray(json.config)) return MODEL
        this.problem(
          json,
          name,
          'a model without layers in its config',
          'Export it with model.export() as a SavedModel.',
        )
        return UNKNOWN
      }
      return MODEL
    }
    if (type === 'InputLayer') return INPUT
    const row = isOperation(json) ? OPERATION_ROWS[type] : LAYERS[type]
    if (row) return row
    const kind = isOperation(json) ? 'operation' : 'layer'
    const near = nearest(type, Object.keys(kind === 'layer' ? LAYERS : OPERATION_ROWS))
    this.problem(
      json,
      name,
      `no such ${kind} in the table, perhaps a class of the author${near ? `; the nearest one that is: ${near}` : ''}`,
      'Export the model with model.export() as a SavedModel.',
    )
    return UNKNOWN
  }

  private problem(json: JsonObject, name: string, why: string, fix: string, type?: string): void {
    this.problems.push({ type: type ?? shown(json.class_name), name, why, fix })
  }
}

interface Place {
  readonly path: string
  readonly dtype: DType
  readonly trainable: boolean
  readonly depth: number
  readonly where: string
}

function className(json: JsonObject): string {
  const name = shown(json.class_name)
  return EXPORTED[name] ?? name
}

function uniqueName(name: string, used: Map<string, number>): string {
  const count = used.get(name)
  used.set(name, (count ?? -1) + 1)
  return count === undefined ? name : `${name}_${count + 1}`
}

const nothing = (): never => {
  throw new AppError('INTERNAL', { expected: 'a layer that computes', got: 'one that does not' })
}
const UNKNOWN: LayerRow = { emit: nothing }
const INPUT: LayerRow = { emit: nothing }
const MODEL: LayerRow = {
  mask: 'keep',
  autocast: false,
  children: (c, make) => {
    const [layers, operations] = [new Map<string, number>(), new Map<string, number>()]
    for (const json of layersOf(c)) {
      const container = isOperation(json) ? { name: 'operations', used: operations } : { name: 'layers', used: layers }
      make(container.name, json, container)
    }
  },
  emit: nothing,
}

/** The layers of a model by name, in the order of the file. */
export function namedLayers(model: KLayer): Map<string, KLayer> {
  return new Map([...model.children.values()].map((l) => [shown(l.json.name ?? l.name), l]))
}
