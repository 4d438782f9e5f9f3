import { basename } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { Tensor } from '../../src/tensor.ts'
import { openBundle } from '../formats/bundle.ts'
import type { TfTensor } from '../graph.ts'
import type { Variable } from '../kerasmodel.ts'
import { CHECKPOINT_GRAPH, trackedKeys, trackedNames } from './objectgraph.ts'

/**
 * The values of a TF2 object checkpoint by their path in the object graph from its root, e.g. `layer_with_weights-0/kernel`; of a
 * TF1 checkpoint by variable name. @throws {AppError} BAD_MODEL_FILE
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

/** Variables of one layer in the order in which Keras makes them; an object graph lists them in the order they were first met. */
const ORDER = ['embeddings', 'kernel', 'depthwise_kernel', 'pointwise_kernel', 'recurrent_kernel', 'bias']
const NORM = ['gamma', 'beta', 'mean', 'moving_mean', 'variance', 'moving_variance', 'count']

/** What an optimizer keeps for each weight has the weight's name inside its own. */
const OPTIMIZER = /\.OPTIMIZER_SLOT|(^|\/)_?optimizer\/_variables\//

/** The weights of a Keras model in an object checkpoint, by the names that Keras gave them (`sequential/dense/kernel`). */
export function checkpointVariables(prefix: string): Variable[] {
  const bundle = openBundle(prefix)
  if (!bundle.has(CHECKPOINT_GRAPH))
    throw new AppError('BAD_MODEL_FILE', {
      where: `${basename(prefix)}.index`,
      expected: 'the checkpoint of a Keras model (tf.train.Checkpoint, save_weights)',
      got: 'one without an object graph',
    })
  const layers = new Map<string, { leaf: string; variable: Variable }[]>()
  for (const [name, key] of trackedNames(bundle)) {
    if (OPTIMIZER.test(key)) continue
    const cut = name.lastIndexOf('/')
    const group = layers.get(name.slice(0, cut)) ?? []
    layers.set(name.slice(0, cut), group)
    group.push({ leaf: name.slice(cut + 1), variable: { name, read: () => bundle.read(key) as Tensor } })
  }
  const place = (leaf: string): number => Math.max(ORDER.indexOf(leaf), NORM.indexOf(leaf))
  return [...layers.values()].flatMap((group) =>
    group.sort((a, b) => place(a.leaf) - place(b.leaf)).map((v) => v.variable),
  )
}
