import { AppError } from '../../src/errors.ts'
import { parseRef } from '../formats/graphdef.ts'
import type { TfDType } from '../formats/proto/tensorflow.ts'
import type { Ref, SignatureTensor, TfGraph, TfNode, TfShape, TfSignature } from '../graph.ts'
import { structured } from '../structure/index.ts'
import { below, isTraining, lessonsOf, readersOf } from './training.ts'

/** What a client feeds, and what training fed from: a data pipeline stands in the place of a placeholder. */
const PLACEHOLDERS = new Set(['Placeholder', 'PlaceholderV2', 'PlaceholderWithDefault'])
const PIPELINES: Readonly<Record<string, readonly [types: string, shapes: string]>> = {
  IteratorGetNext: ['output_types', 'output_shapes'],
  QueueDequeueV2: ['component_types', 'shapes'],
  QueueDequeueManyV2: ['component_types', 'shapes'],
  QueueDequeueUpToV2: ['component_types', 'shapes'],
}

/** Outputs of ops that have several and commonly end a graph. */
const COUNTS: Readonly<Record<string, number>> = {
  TopK: 2,
  TopKV2: 2,
  NonMaxSuppressionV4: 2,
  NonMaxSuppressionV5: 3,
  CombinedNonMaxSuppression: 4,
}

/**
 * The signature of a graph that has none: everything is named by its tensor. `outputs` are the tensors wanted; without them the ends of
 * the graph are. @throws {AppError} BAD_MODEL_FILE when there are none, UNKNOWN_OUTPUT for one that is not there
 */
export function graphSignature(
  graph: TfGraph,
  where: string,
  outputs: readonly string[] | undefined,
  producer = Number.POSITIVE_INFINITY,
): TfSignature {
  const wanted = outputs?.length ? outputs.map((o) => named(graph, o, where)) : ends(graph)
  if (wanted.length === 0)
    throw new AppError('BAD_MODEL_FILE', {
      where,
      expected: 'a graph whose result can be told from its ends',
      got: 'none that an input reaches and training does not use',
      fix: 'Name the tensors to compute with --output.',
    })
  return {
    method: 'tensorflow/serving/predict',
    // a branch of constants needs its predicate only by control edges, so conditionals are looked at as If nodes
    inputs: Object.fromEntries(inputsOf(structured(graph), wanted, producer)),
    outputs: asOutputs(wanted),
  }
}

/** @throws {AppError} UNKNOWN_OUTPUT */
export function namedOutputs(graph: TfGraph, outputs: readonly string[], where: string): TfSignature['outputs'] {
  return asOutputs(outputs.map((o) => named(graph, o, where)))
}

/** Their dtypes and shapes come with the import. */
function asOutputs(refs: readonly Ref[]): TfSignature['outputs'] {
  return Object.fromEntries(refs.map((r) => [spelled(r), { tensor: spelled(r), dtype: 'invalid', shape: undefined }]))
}

const spelled = (r: Ref): string => `${r.node}:${r.index}`

/** `name` or `name:0`. */
function named(graph: TfGraph, text: string, where: string): Ref {
  const ref = parseRef(text)
  if (graph.nodes.has(ref.node) && Number.isInteger(ref.index)) return ref
  throw new AppError('UNKNOWN_OUTPUT', {
    where,
    expected: 'the name of a tensor of the graph, like softmax:0',
    got: text.slice(0, 80),
    fix: `Ends of this graph: ${ends(graph).map(spelled).slice(0, 8).join(', ') || 'none'}.`,
  })
}

/** Every placeholder that the outputs need, in the order of the graph. */
function inputsOf(graph: TfGraph, outputs: readonly Ref[], producer: number): [string, SignatureTensor][] {
  const reached = new Set<string>()
  const used = new Map<string, Set<number>>()
  const stack = [...outputs]
  for (let r = stack.pop(); r; r = stack.pop()) {
    const indices = used.get(r.node) ?? new Set()
    used.set(r.node, indices.add(r.index))
    if (reached.has(r.node)) continue
    reached.add(r.node)
    const node = graph.nodes.get(r.node)
    if (node && !isInput(node)) stack.push(...node.inputs)
  }
  const out: [string, SignatureTensor][] = []
  for (const node of graph.nodes.values()) {
    if (!reached.has(node.name) || !isInput(node)) continue
    for (const index of [...used.get(node.name)!].sort((a, b) => a - b)) {
      const tensor = `${node.name}:${index}`
      out.push([tensor, { tensor, ...typeOf(node, index, producer) }])
    }
  }
  return out
}

const isInput = (node: TfNode): boolean => PLACEHOLDERS.has(node.op) || Object.hasOwn(PIPELINES, node.op)

function typeOf(node: TfNode, index: number, producer: number): { dtype: TfDType; shape: TfShape } {
  const pipeline = PIPELINES[node.op]
  const pick = (name: string) => {
    const a = node.attrs[name]
    return Array.isArray(a) ? a[index] : a
  }
  const dtype = pick(pipeline?.[0] ?? 'dtype')
  const shape = pick(pipeline?.[1] ?? 'shape')
  const known = typeof shape === 'object' && 'shape' in shape ? shape.shape : undefined
  return {
    dtype: typeof dtype === 'object' && 'dtype' in dtype ? dtype.dtype : 'invalid',
    // before GraphDef version 24 a placeholder without shape was written as a scalar
    shape: known?.length === 0 && producer < 24 ? undefined : known,
  }
}

/** Tensors nobody reads, that an input reaches, and that are no business of training. */
export function ends(graph: TfGraph): Ref[] {
  const readers = readersOf(graph)
  const training = new Set([...graph.nodes.values()].filter(isTraining).map((n) => n.name))
  const isEnd = (n: TfNode): boolean =>
    !isInput(n) && !training.has(n.name) && (readers.get(n.name) ?? []).every((r) => training.has(r.name))
  const lessons = lessonsOf(graph, isInput, isEnd)
  const judged = below(graph, readers, (n) => lessons.taught.has(n.name))
  const openFrom = (start: (n: TfNode) => boolean): TfNode[] => {
    const fed = below(graph, readers, start)
    return [...graph.nodes.values()].filter((n) => fed.has(n.name) && isEnd(n))
  }
  const placed = openFrom((n) => PLACEHOLDERS.has(n.op))
  const open = placed.length > 0 ? placed : openFrom(isInput)
  const answers = open.filter((n) => !judged.has(n.name))
  const results =
    answers.length > 0
      ? answers.flatMap((n) => Array.from({ length: countOf(n) }, (_, index) => ({ node: n.name, index })))
      : lessons.predictions
  return [...new Map(results.map((r) => [spelled(r), r])).values()]
}

function countOf(n: TfNode): number {
  const many =
    n.op === 'IdentityN' ? n.attrs.T : n.op === 'Split' ? n.attrs.num_split : n.op === 'Unpack' ? n.attrs.num : 1
  return COUNTS[n.op] ?? (Array.isArray(many) ? many.length : Number(many ?? 1))
}
