import { AppError } from '../src/errors.ts'
import type { TensorSpec } from '../src/manifest.ts'
import { carried, carriedDType } from './carried.ts'
import { cutSpec, specShape, withoutCutInputs } from './cuts.ts'
import type { ImportedGraph } from './import.ts'
import type { KerasModel } from './kerasmodel.ts'
import { simplify } from './normalise/index.ts'
import { Builder } from './onnx/builder.ts'
import type { Dim, Value, ValueInfo } from './onnx/value.ts'
import { runModel } from './ops/keras/graph.ts'
import { inputsOf, outputNames } from './ops/keras/interface.ts'
import { type Arg, type KLayer, type KTensor, tensorsOf } from './ops/keras/layer.ts'
import { type Context, runLayer } from './ops/keras/run.ts'
import { layerEnv } from './ops/keras/tf.ts'
import { isModel, type LayerProblem, Tree } from './ops/keras/tree.ts'
import { variablesOf } from './ops/keras/weights.ts'
import type { Cut } from './ops/op.ts'

/** The only signature of a Keras file, under the name that TensorFlow gives to a model's own. */
export const KERAS_SIGNATURE = 'serving_default'

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
  const names = aliases.map((alias) => freeName(alias, b, '_out'))
  const cuts: Cut[] = []
  const c: Context = {
    b,
    env: layerEnv({
      isInput: (v) => b.inputs.some((i) => i.name === v.name),
      cut: (request) => {
        const outputs = request.outputs.map((o) => ({ ...o, name: freeName(o.name, b) }))
        cuts.push({ ...request, outputs })
        return outputs.map((o) => b.input(o.name, o.dtype, o.shape))
      },
    }),
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
        carriedDType(i.dtype),
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
    const out = b.output(carried(values[i]!, b), names[i]!)
    infos.push(out)
    outputs[alias] = {
      name: out.name,
      source: wanted[i]!,
      dtype: out.dtype,
      shape: specShape(out.shape),
    }
  }
  const { graph, passes } = simplify(b.finish(KERAS_SIGNATURE, infos))
  const specs = given.map((i): [string, TensorSpec] => [
    i.name,
    { name: i.name, source: i.name, dtype: carriedDType(i.dtype), shape: [...i.shape] },
  ])
  return {
    kind: 'graph',
    graph: withoutCutInputs(graph, cuts),
    signature: {
      method: '',
      inputs: Object.fromEntries(specs),
      outputs,
      ...(cuts.length > 0 && { cuts: cuts.map(cutSpec) }),
    },
    passes,
  }
}

/** A name that nothing in the graph has yet. */
function freeName(wanted: string, b: Builder, suffix = '_'): string {
  let name = wanted
  for (let i = 1; !b.reserve(name); i++) name = `${wanted}${suffix}${i === 1 ? '' : i}`
  return name
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
