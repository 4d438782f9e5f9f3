import { AppError } from '../../../src/errors.ts'
import { shown } from '../../../src/shown.ts'
import { DTYPES, type DType } from '../../../src/tensor.ts'
import { isObject, type Json } from '../../formats/jsonvalue.ts'
import type { Config } from './config.ts'
import { refsOf } from './graph.ts'
import type { KLayer } from './layer.ts'
import { isModel } from './tree.ts'

export interface Input {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly (number | null)[]
}

/** Keras names outputs by the layers they come from. */
export function outputNames(root: KLayer): string[] {
  if (root.type !== 'Sequential')
    return refsOf(root.config.get('output_layers'), root.config, 'output_layers').map((r) => r.layer)
  const last = [...root.children.values()].at(-1)
  if (!last)
    throw new AppError('BAD_MODEL_FILE', { where: root.config.where, expected: 'at least one layer', got: 'none' })
  return [last.name]
}

/** @throws {AppError} BAD_MODEL_FILE, UNSUPPORTED_LAYER for a model that does not say its shape */
export function inputsOf(root: KLayer, keras: number): Input[] {
  if (root.type === 'Sequential') return [sequentialInput(root, keras)]
  const layers = new Map([...root.children.values()].map((l) => [l.name, l]))
  return refsOf(root.config.get('input_layers'), root.config, 'input_layers').map((r) => {
    const layer = layers.get(r.layer)
    if (layer?.type === 'InputLayer') return inputLayer(layer.config, layer.name)
    throw new AppError('BAD_MODEL_FILE', {
      where: root.config.where,
      expected: `an input layer '${r.layer}'`,
      got: layer ? layer.type : 'none',
    })
  })
}

/** The input layer of a Sequential, or what its first layer or the build says of the shape. */
function sequentialInput(root: KLayer, keras: number): Input {
  const [first] = root.children.values()
  if (first?.type === 'InputLayer') return inputLayer(first.config, first.name)
  if (first && shapeIn(first.config))
    return { ...inputLayer(first.config, `${first.name}_input`), dtype: firstDType(first) }
  // a model or a layer that was called keeps the shape it was built with
  for (const json of [root.json, root.config.json, first?.json]) {
    const built = json && isObject(json.build_config) ? json.build_config : json
    const shape = built && (dims(built.input_shape) ?? dims(built.build_input_shape))
    if (shape && first)
      return { name: keras < 3 ? `${first.name}_input` : 'input_layer', dtype: firstDType(first), shape }
  }
  if (first && isModel(first.type)) return inputsOf(first, keras)[0]!
  throw new AppError('UNSUPPORTED_LAYER', {
    where: root.config.where,
    expected: 'the shape of its input',
    got: 'a model that was saved before it was built',
    fix: 'Begin the model with keras.Input(shape), or call it once before saving.',
  })
}

function firstDType(layer: KLayer): DType {
  if (/^(StringLookup|TextVectorization)$/.test(layer.type)) return 'string'
  if (/^IntegerLookup$/.test(layer.type)) return 'int64'
  return 'float32'
}

function dims(v: Json | undefined): (number | null)[] | undefined {
  if (!Array.isArray(v) || v.length === 0) return undefined
  return v.every((d) => d === null || (Number.isSafeInteger(d) && (d as number) >= 0))
    ? (v as (number | null)[])
    : undefined
}

function shapeIn(c: Config): (number | null)[] | undefined {
  const inner = dims(c.get('input_shape'))
  return dims(c.get('batch_shape')) ?? dims(c.get('batch_input_shape')) ?? (inner && [null, ...inner])
}

function inputLayer(c: Config, name: string): Input {
  const shape = shapeIn(c)
  const dtype = c.get('dtype') === undefined ? 'float32' : dtypeName(c.get('dtype'))
  if (c.bool('sparse') || c.bool('ragged'))
    throw new AppError('UNSUPPORTED_LAYER', {
      where: c.where,
      expected: 'a dense input',
      got: c.bool('ragged') ? 'a ragged one' : 'a sparse one',
    })
  if (!shape || !Object.hasOwn(DTYPES, dtype))
    throw c.bad(shape ? 'dtype' : 'batch_shape', shape ? 'a dtype' : 'a shape', shape ? dtype : c.get('batch_shape'))
  return { name, dtype: dtype as DType, shape }
}

function dtypeName(v: Json | undefined): string {
  if (typeof v === 'string') return v
  const config = isObject(v) && isObject(v.config) ? v.config : {}
  return shown(config.name)
}
