import type { Ref, TfGraph, TfNode } from '../graph.ts'

/** Nodes that mean something to training, saving or watching only. */
const TRAINING =
  /^(Resource)?(Sparse)?(Apply[A-Z]|Scatter(Add|Sub|Update|NdUpdate)$)|^Assign|^(Save|Restore)|Summary|Grad(V\d)?$|Grad(Input|Filter)$|^(Assert|NoOp|Print|PrintV2|Abort|CountUpTo|ControlTrigger)$|^Write|Backprop(Input|Filter)?$/
const TRAINING_SCOPE = /(^|\/)(gradients|save|train_op|Adam|Adagrad|GradientDescent|Momentum|RMSProp)(_\d+)?\//
/** Their first input is what the model says, the second what it should have said. */
const LOSSES = new Set(['SoftmaxCrossEntropyWithLogits', 'SparseSoftmaxCrossEntropyWithLogits', 'CTCLoss', 'CTCLossV2'])
const METRICS = new Set(['InTopK', 'InTopKV2'])
const VARIABLES = new Set(['VariableV2', 'Variable', 'VarHandleOp'])

export const isTraining = (n: TfNode): boolean => TRAINING.test(n.op) || TRAINING_SCOPE.test(n.name)

export interface Lessons {
  /** nodes below which everything is about training: losses, metrics, labels, counters */
  readonly taught: ReadonlySet<string>
  /** what the losses judge: the model's answer where the graph ends in a loss */
  readonly predictions: readonly Ref[]
}

/** What a training graph compares with what, which tells its answer from its lessons. */
export function lessonsOf(graph: TfGraph, isInput: (n: TfNode) => boolean, isEnd: (n: TfNode) => boolean): Lessons {
  const taught = new Set<string>()
  const predictions: Ref[] = []
  const sources = (r: Ref): string[] => above(graph, [r.node]).filter((name) => isInput(graph.nodes.get(name)!))
  const compare = (prediction: Ref | undefined, label: Ref | undefined): void => {
    if (!prediction || !label) return
    predictions.push(prediction)
    const features = new Set(sources(prediction))
    for (const name of sources(label)) if (!features.has(name)) taught.add(name)
  }
  const started = gradientStarts(graph)
  for (const n of graph.nodes.values()) {
    const counted = /^Assign(Add|Sub)/.test(n.op) ? n.inputs[0] : undefined
    if (counted) taught.add(counted.node)
    const known = LOSSES.has(n.op)
    const own = started.has(n.name) && isEnd(n)
    if (known || own || METRICS.has(n.op)) taught.add(n.name)
    if (known) compare(n.inputs[0], n.inputs[1])
    else if (own) compare(...comparison(graph, n, isInput))
  }
  return { taught, predictions }
}

/** Nodes that have a gradient: the loss among them is the one that ends the graph. */
function gradientStarts(graph: TfGraph): Set<string> {
  const out = new Set<string>()
  for (const name of graph.nodes.keys()) {
    const of = /(?:^|\/)gradients(?:_\d+)?\/(.+)_grad\//.exec(name)?.[1]
    if (of !== undefined) out.add(of)
  }
  return out
}

/** The node closest above a loss where what variables make meets what comes from an input alone. */
function comparison(graph: TfGraph, loss: TfNode, isInput: (n: TfNode) => boolean): [Ref?, Ref?] {
  const seen = new Set([loss.name])
  for (const name of seen) {
    const inputs = graph.nodes.get(name)?.inputs ?? []
    const kinds = inputs.map((r) => {
      const all = above(graph, [r.node]).map((n) => graph.nodes.get(n)!)
      return { r, learnt: all.some((n) => VARIABLES.has(n.op)), given: all.some(isInput) }
    })
    const prediction = kinds.find((k) => k.learnt)
    const label = kinds.find((k) => !k.learnt && k.given)
    if (prediction && label) return [prediction.r, label.r]
    for (const k of kinds) if (k.learnt) seen.add(k.r.node)
  }
  return []
}

/** Names of the nodes that these need, themselves included. */
function above(graph: TfGraph, start: readonly string[]): string[] {
  const seen = new Set(start)
  for (const name of seen) for (const r of graph.nodes.get(name)?.inputs ?? []) seen.add(r.node)
  return [...seen].filter((name) => graph.nodes.has(name))
}

export function readersOf(graph: TfGraph): Map<string, TfNode[]> {
  const readers = new Map<string, TfNode[]>()
  for (const node of graph.nodes.values())
    for (const r of node.inputs) {
      const list = readers.get(r.node)
      if (list) list.push(node)
      else readers.set(r.node, [node])
    }
  return readers
}

/** Names of the nodes that `start` matches and of all that read them, near or far. */
export function below(
  graph: TfGraph,
  readers: ReadonlyMap<string, readonly TfNode[]>,
  start: (n: TfNode) => boolean,
): Set<string> {
  const stack = [...graph.nodes.values()].filter(start)
  const seen = new Set(stack.map((n) => n.name))
  for (let n = stack.pop(); n; n = stack.pop())
    for (const r of readers.get(n.name) ?? [])
      if (!seen.has(r.name)) {
        seen.add(r.name)
        stack.push(r)
      }
  return seen
}
