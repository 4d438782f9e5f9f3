import { AppError } from '../src/errors.ts'
import type { TensorSpec } from '../src/manifest.ts'
import { DTYPES, type DType } from '../src/tensor.ts'
import type { ImportedGraph } from './import.ts'
import type { KerasModel } from './kerasmodel.ts'
import { simplify } from './normalise/index.ts'
import { Builder } from './onnx/builder.ts'
import type { Dim, Value, ValueInfo } from './onnx/value.ts'
import { type Config, isObject, type Json } from './ops/keras/config.ts'
import { refsOf, runModel } from './ops/keras/graph.ts'
import { type Arg, type KLayer, type KTensor, tensorsOf } from './ops/keras/layer.ts'
import { type Context, runLayer } from './ops/keras/run.ts'
import { isModel, type LayerProblem, Tree } from './ops/keras/tree.ts'
import { variablesOf } from './ops/keras/weights.ts'

/** The only signature of a Keras file, under the name that TensorFlow gives to a model's own. */
export const KERAS_SIGNATURE = 'serving_default'

interface Input {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly (number | null)[]
}

/**
 * A Keras model as an ONNX graph. Inputs have the names of its input layers, outputs those of its output layers.
 * @throws {AppError} UNSUPPORTED_LAYER listing every layer at once; CHECKPOINT_MISMATCH, BAD_MODEL_FILE
 */
export function importKeras(model: KerasModel): ImportedGraph {
  const tree = new Tree(model.config, model.name)
  refuse(tree.problems)
  const { root } = tree
  if (!isModel(root.type))
    throw new AppError('BAD_MODEL_FILE', {
      where: model.name,
      expected: 'a model',
      got: `a layer of class ${root.type}`,
    })
  const b = new Builder()
  const given = inputsOf(root, model.keras)
  const wanted = outputNames(root)
  for (const i of given)
    if (!b.reserve(i.name))
      throw new AppError('BAD_MODEL_FILE', {
        where: model.name,
        expected: 'inputs of different names',
        got: `'${i.name}' twice`,
      })
  const aliases = unique(wanted)
  const names = aliases.map((alias) => {
    let name = alias
    for (let i = 1; !b.reserve(name); i++) name = `${alias}_out${i === 1 ? '' : i}`
    return name
  })
  const c: Context = {
    b,
    keras: model.keras,
    problems: [],
    variable: variablesOf(model.weights, root),
    asset: (layer, file) => model.asset(layer.path === '' ? file : `${layer.path}/${file}`),
    model: runModel,
  }
  const inputs = given.map(
    (i): KTensor => ({
      value: b.input(
        i.name,
        i.dtype,
        i.shape.map((d, k): Dim => d ?? `${i.name}_${k}`),
      ),
    }),
  )
  const values = run(root, inputs, c)
  if (values.length !== aliases.length)
    throw new AppError('BAD_MODEL_FILE', {
      where: model.name,
      expected: `${aliases.length} outputs`,
      got: `${values.length}`,
    })
  const infos: ValueInfo[] = []
  const outputs: Record<string, TensorSpec> = {}
  for (const [i, alias] of aliases.entries()) {
    const out = b.output(values[i]!, names[i]!)
    infos.push(out)
    outputs[alias] = {
      name: out.name,
      source: wanted[i]!,
      dtype: out.dtype,
      shape: out.shape?.map((d) => (typeof d === 'number' ? d : null)) ?? null,
    }
  }
  const { graph, passes } = simplify(b.finish(KERAS_SIGNATURE, infos))
  const specs = given.map((i): [string, TensorSpec] => [
    i.name,
    { name: i.name, source: i.name, dtype: i.dtype, shape: [...i.shape] },
  ])
  return { kind: 'graph', graph, signature: { method: '', inputs: Object.fromEntries(specs), outputs }, passes }
}

/** Runs the whole model; what was noted on the way is thrown as one error. */
function run(root: KLayer, inputs: readonly KTensor[], c: Context): Value[] {
  const arg: Arg = inputs.length === 1 ? inputs[0]! : inputs
  let out: Arg
  try {
    out = runLayer(root, [arg], {}, { ...c }) as Arg
  } catch (e) {
    refuse(c.problems)
    throw e
  }
  refuse(c.problems)
  return tensorsOf(out).map((t) => t.value)
}

/** One error for everything that cannot be imported. @throws {AppError} UNSUPPORTED_LAYER */
function refuse(problems: readonly LayerProblem[]): void {
  if (problems.length === 0) return
  const byType = new Map<string, LayerProblem[]>()
  for (const p of problems) {
    const key = `${p.type}\n${p.why}`
    byType.set(key, [...(byType.get(key) ?? []), p])
  }
  const lines = [...byType.values()].map((list) => {
    const names = [...new Set(list.map((p) => p.name))]
    const more = names.length > 3 ? `, … ${names.length - 3} more` : ''
    return `${list[0]!.type} × ${list.length} (${names.slice(0, 3).join(', ')}${more}): ${list[0]!.why}`
  })
  const fixes = [...new Set(problems.map((p) => p.fix ?? 'Export the model with model.export() as a SavedModel.'))]
  throw new AppError('UNSUPPORTED_LAYER', {
    got: `\n  ${lines.join('\n  ')}\n`,
    fix: fixes.join(' '),
    data: { layers: problems.map((p) => ({ type: p.type, name: p.name, why: p.why })) },
  })
}

function unique(names: readonly string[]): string[] {
  const seen = new Set<string>()
  return names.map((name) => {
    let alias = name
    for (let i = 1; seen.has(alias); i++) alias = `${name}_${i}`
    seen.add(alias)
    return alias
  })
}

/** Keras names outputs by the layers they come from. */
function outputNames(root: KLayer): string[] {
  if (root.type !== 'Sequential')
    return refsOf(root.config.get('output_layers'), root.config, 'output_layers').map((r) => r.layer)
  const last = [...root.children.values()].at(-1)
  if (!last)
    throw new AppError('BAD_MODEL_FILE', { where: root.config.where, expected: 'at least one layer', got: 'none' })
  return [last.name]
}

function inputsOf(root: KLayer, keras: number): Input[] {
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
  return String(config.name)
}
