import { AppError, isAppError } from '../src/errors.ts'
import { DTYPES, type DType } from '../src/tensor.ts'
import type { Ref, TfFunction, TfModel, TfNode, TfTensor } from './graph.ts'
import type { Builder } from './onnx/builder.ts'
import type { Value } from './onnx/value.ts'
import { readAttrs } from './ops/attrs.ts'
import { nearestOp, OPS } from './ops/index.ts'
import type { Cut, Env, FuncAttr, Handle, NodeCtx, OpRow, Out } from './ops/op.ts'

type Nodes = ReadonlyMap<string, TfNode>
/** Outputs of a node: a list, or one mark that stands for every output. */
type Outs = readonly Out[] | 'dead' | 'poison'

export interface Problem {
  readonly op: string
  readonly node: string
  readonly why: string
}

const DEAD: Out = { kind: 'dead' }
const POISON: Out = { kind: 'poison' }
const MAX_CALL_DEPTH = 200

/** Ops that fill a lookup table; reached over control edges only, so they are looked for. */
const INITIALISERS = new Set([
  'InitializeTable',
  'InitializeTableV2',
  'LookupTableImport',
  'LookupTableImportV2',
  'InitializeTableFromTextFile',
  'InitializeTableFromTextFileV2',
  'InitializeTableFromDatasetV2',
])

/**
 * Walks a TensorFlow graph from the fetched tensors and emits ONNX as it goes. Functions are walked in place, with the values of their
 * arguments, so that calls are inlined, captured variables are resolved and constants fold without a pass of their own.
 * Whatever cannot be imported is collected, never thrown one by one: {@link problems} is empty or nothing must be written.
 */
export class Converter {
  readonly problems: Problem[] = []
  readonly cuts: Cut[] = []
  private readonly model: TfModel
  private readonly env: Env
  private depth = 0
  private readonly initialised = new Set<Handle>()

  constructor(model: TfModel, b: Builder) {
    this.model = model
    this.env = {
      variable: (node) => this.model.variable(node),
      nodesOf: (op) => this.nodesOf(op),
      restored: (key) => this.model.restored?.(key),
      asset: (name) => this.model.assets.get(name),
      initialise: (table) => this.initialise(table, b),
      isInput: (v) => b.inputs.some((i) => i.name === v.name),
      cut: (request) => this.cut(request, b),
      func: (f) => this.func(f, b),
      run: (f, args, refs, inner) => this.inside(f, () => this.run(f.nodes, this.argFeeds(f, args), refs, inner)),
      mark: () => this.problems.length,
      rewind: (mark) => void this.problems.splice(mark),
    }
  }

  /** Values of `fetches`, given values for `feeds` (keyed `node:index`). */
  run(nodes: Nodes, feeds: ReadonlyMap<string, Out>, fetches: readonly Ref[], b: Builder): Out[] {
    const done = new Map<string, Outs>()
    const fed = (r: Ref): Out | undefined => feeds.get(`${r.node}:${r.index}`)
    for (const node of this.order(nodes, fetches, fed)) {
      const inputs = node.inputs.map((r) => fed(r) ?? this.pick(r, nodes, done))
      done.set(node.name, this.node(node, inputs, b))
    }
    return fetches.map((r) => fed(r) ?? this.pick(r, nodes, done))
  }

  /** Nodes that the fetches need, inputs before users. Depth first without recursion: graphs are thousands of nodes deep. */
  private order(nodes: Nodes, fetches: readonly Ref[], fed: (r: Ref) => Out | undefined): TfNode[] {
    const state = new Map<string, 'open' | 'closed'>()
    const out: TfNode[] = []
    const stack: { node: TfNode; next: number }[] = []
    const push = (r: Ref): void => {
      if (fed(r) || state.get(r.node) === 'closed') return
      const node = nodes.get(r.node)
      if (!node)
        throw new AppError('BAD_MODEL_FILE', { where: 'the graph', expected: `a node '${r.node}'`, got: 'none' })
      if (state.get(r.node) === 'open')
        throw new AppError('BAD_MODEL_FILE', {
          where: `node ${r.node}`,
          expected: 'a graph without cycles',
          got: 'a cycle that is not a loop of TensorFlow',
        })
      state.set(r.node, 'open')
      stack.push({ node, next: 0 })
    }
    for (const f of fetches) {
      push(f)
      while (stack.length > 0) {
        const top = stack.at(-1)!
        const r = top.node.inputs[top.next++]
        if (r) push(r)
        else {
          state.set(top.node.name, 'closed')
          out.push(top.node)
          stack.pop()
        }
      }
    }
    return out
  }

  private pick(r: Ref, nodes: Nodes, done: ReadonlyMap<string, Outs>): Out {
    const outs = done.get(r.node)
    if (outs === 'dead') return DEAD
    if (outs === 'poison' || outs === undefined) return POISON
    const index = r.arg === undefined ? r.index : this.flatIndex(nodes.get(r.node)!, r.arg) + r.index
    const out = outs[index]
    if (!out)
      throw new AppError('BAD_MODEL_FILE', {
        where: `node ${r.node}`,
        expected: `output ${r.arg ?? ''}:${r.index}`,
        got: `${outs.length} outputs`,
      })
    return out
  }

  /** Where a named output argument starts: function bodies say `node:values:0`, graphs say `node:0`. */
  private flatIndex(node: TfNode, arg: string): number {
    const f = this.model.graph.functions.get(node.op)
    if (f)
      return Math.max(
        0,
        f.returns.findIndex((r) => r.name === arg),
      )
    let at = 0
    for (const spec of OPS[node.op]?.out ?? []) {
      const [name, count] = spec.split('*') as [string, string | undefined]
      if (name === arg) return at
      const n = count === undefined ? 1 : node.attrs[count]
      at += Array.isArray(n) ? n.length : Number(n ?? 0)
    }
    return 0
  }

  private node(node: TfNode, inputs: readonly Out[], b: Builder): Outs {
    if (inputs.some((i) => i.kind === 'poison')) return 'poison'
    if (node.op !== 'Merge' && inputs.some((i) => i.kind === 'dead')) return 'dead'
    const before = b.at
    b.at = this.depth === 0 ? node.name : `${before.split('//')[0]}//${node.name}`
    try {
      const f = this.model.graph.functions.get(node.op)
      if (f) return this.callFunction(f, inputs, b)
      const row = OPS[node.op]
      if (!row) return this.problem(node, nearestOp(node.op))
      const outs = row.emit(this.context(node, row, inputs, b), b)
      const list = Array.isArray(outs) ? (outs as readonly Out[]) : [outs as Out]
      if (list.length > 0 && list.every((o) => o.kind === 'dead')) return 'dead'
      return list
    } catch (e) {
      if (isAppError(e) && e.code === 'UNSUPPORTED_OPS') return this.problem(node, e.message)
      if (isAppError(e)) throw e
      throw new AppError('INTERNAL', {
        where: `${node.op} node ${node.name}`,
        got: e instanceof Error ? e.message : String(e),
        cause: e,
      })
    } finally {
      b.at = before
    }
  }

  private problem(node: TfNode, why: string): 'poison' {
    this.problems.push({ op: node.op, node: node.name, why })
    return 'poison'
  }

  private context(node: TfNode, row: OpRow, inputs: readonly Out[], b: Builder): NodeCtx {
    const attrs = readAttrs(node, row.attrs)
    return {
      name: node.name,
      op: node.op,
      node,
      inputs,
      in: named(node, row, inputs),
      attrs,
      dtype: (attr) => importedDType(node, attr, attrs[attr]),
      call: (func, args, inner) => this.call(func, args, inner ?? b),
      env: this.env,
    } as NodeCtx
  }

  private *nodesOf(op: string): Iterable<TfNode> {
    for (const nodes of [this.model.graph.nodes, ...[...this.model.graph.functions.values()].map((f) => f.nodes)])
      for (const node of nodes.values()) if (node.op === op) yield node
  }

  private call(func: FuncAttr | string, args: readonly Out[], b: Builder): Out[] {
    return this.callFunction(this.func(func, b), args, b)
  }

  private func(func: FuncAttr | string, b: Builder): TfFunction {
    const name = typeof func === 'string' ? func : func.func
    const f = this.model.graph.functions.get(name)
    if (f) return f
    throw new AppError('BAD_MODEL_FILE', {
      where: `node ${b.at}`,
      expected: `a function '${name}' in the library`,
      got: 'none',
    })
  }

  private callFunction(f: TfFunction, args: readonly Out[], b: Builder): Out[] {
    if (args.length !== f.args.length)
      throw new AppError('BAD_MODEL_FILE', {
        where: `call of ${f.name}`,
        expected: `${f.args.length} arguments`,
        got: `${args.length}`,
      })
    return this.inside(f, () =>
      this.run(
        f.nodes,
        this.argFeeds(f, args),
        f.returns.map((r) => r.ref),
        b,
      ),
    )
  }

  private inside<T>(f: TfFunction, body: () => T): T {
    if (++this.depth > MAX_CALL_DEPTH)
      throw new AppError('UNSUPPORTED_OPS', {
        where: `function ${f.name}`,
        expected: `at most ${MAX_CALL_DEPTH} nested calls`,
        got: 'recursion',
      })
    try {
      return body()
    } finally {
      this.depth--
    }
  }

  private argFeeds(f: TfFunction, args: readonly Out[]): Map<string, Out> {
    return new Map(f.args.map((a, i) => [`${a.name}:0`, args[i]!] as const))
  }

  // ---- lookup tables ------------------------------------------------------------------------------------------------------

  private initialise(table: Handle, b: Builder): void {
    if (this.initialised.has(table)) return
    this.initialised.add(table)
    const feed = new Map<string, Out>([[`${table.node.name}:0`, table]])
    const names = this.namesOf(table.node.name)
    // a restore op takes the file name of the checkpoint, which is open already
    const file = b.const({ dtype: 'string', shape: [], data: [''] })
    for (const node of this.model.graph.nodes.values()) if (node.op === 'Placeholder') feed.set(`${node.name}:0`, file)
    for (const node of this.model.graph.nodes.values()) {
      if (!node.inputs.some((r) => names.has(r.node))) continue
      const target = node.attrs.f
      const name = typeof target === 'object' && 'func' in target ? target.func : node.op
      const f = this.model.graph.functions.get(name)
      if (INITIALISERS.has(node.op)) this.effect(this.model.graph.nodes, feed, node, b)
      else if (f && this.fillsTable(f, new Set())) {
        const args = this.run(this.model.graph.nodes, feed, node.inputs, b)
        this.effects(f, args, b)
      }
    }
  }

  /** A table and the Identity nodes it goes through, which inlined functions leave behind. */
  private namesOf(table: string): Set<string> {
    const names = new Set([table])
    for (let size = 0; size < names.size; ) {
      size = names.size
      for (const n of this.model.graph.nodes.values())
        if (n.op === 'Identity' && names.has(n.inputs[0]?.node ?? '')) names.add(n.name)
    }
    return names
  }

  private effects(f: TfFunction, args: readonly Out[], b: Builder): void {
    const feeds = this.argFeeds(f, args)
    for (const node of f.nodes.values()) {
      const target = node.attrs.f
      const inner =
        typeof target === 'object' && 'func' in target ? this.model.graph.functions.get(target.func) : undefined
      if (INITIALISERS.has(node.op)) this.effect(f.nodes, feeds, node, b)
      else if (inner && this.fillsTable(inner, new Set()))
        this.effects(inner, this.run(f.nodes, feeds, node.inputs, b), b)
    }
  }

  private effect(nodes: Nodes, feeds: ReadonlyMap<string, Out>, node: TfNode, b: Builder): void {
    this.node(node, this.run(nodes, feeds, node.inputs, b), b)
  }

  private fillsTable(f: TfFunction, seen: Set<string>): boolean {
    if (seen.has(f.name)) return false
    seen.add(f.name)
    for (const n of f.nodes.values()) {
      if (INITIALISERS.has(n.op)) return true
      const target = n.attrs.f
      const inner =
        typeof target === 'object' && 'func' in target ? this.model.graph.functions.get(target.func) : undefined
      if (inner && this.fillsTable(inner, seen)) return true
    }
    return false
  }

  // ---- what the runtime computes ------------------------------------------------------------------------------------------

  /** Cuts read what clients send or earlier cuts made: the runtime computes them before the graph. */
  private cut(request: Cut, b: Builder): readonly Value[] {
    for (const v of request.inputs)
      if (!b.inputs.some((i) => i.name === v.name))
        throw new AppError('UNSUPPORTED_OPS', {
          where: `${request.node.op} node ${request.node.name}`,
          expected: 'an input of the signature, since this is computed before the graph',
          got: v.data ? 'a constant' : 'a computed tensor',
        })
    const outputs = request.outputs.map((o) => ({ ...o, name: b.unique(o.name) }))
    this.cuts.push({ ...request, outputs })
    return outputs.map((o) => b.input(o.name, o.dtype, o.shape))
  }
}

function named(node: TfNode, row: OpRow, inputs: readonly Out[]): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  const tensorAt = (i: number, name: string): Value => {
    const v = inputs[i]
    if (v?.kind === 'tensor') return v
    throw new AppError('UNSUPPORTED_OPS', {
      where: `${node.op} node ${node.name}`,
      expected: `a tensor as input '${name}'`,
      got: v ? `a ${v.kind === 'handle' ? v.type : v.kind}` : 'nothing',
    })
  }
  for (const [i, spec] of row.in.entries()) {
    const name = spec.replace(/[?*!]$/, '')
    if (spec.endsWith('*')) out[name] = inputs.slice(i).map((_, k) => tensorAt(i + k, name))
    else if (spec.endsWith('!')) out[name] = inputs[i] ?? absent(node, name)
    else if (spec.endsWith('?')) out[name] = inputs[i] ? tensorAt(i, name) : undefined
    else out[name] = tensorAt(i, name)
  }
  return out
}

function absent(node: TfNode, name: string): never {
  throw new AppError('BAD_MODEL_FILE', {
    where: `${node.op} node ${node.name}`,
    expected: `an input '${name}'`,
    got: 'none',
  })
}

const QUANTISED: Readonly<Record<string, DType>> = {
  qint8: 'int8',
  quint8: 'uint8',
  qint32: 'int32',
  qint16: 'int16',
  quint16: 'uint16',
}

function importedDType(node: TfNode, attr: string, value: unknown): DType {
  const dtype = QUANTISED[String(value)] ?? String(value)
  if (Object.hasOwn(DTYPES, dtype)) return dtype as DType
  throw new AppError('UNSUPPORTED_OPS', {
    where: `${node.op} node ${node.name}`,
    expected: `a dtype of numbers or strings for ${attr}`,
    got: String(value),
  })
}

/** One error for everything that cannot be imported. @throws {AppError} UNSUPPORTED_OPS */
export function refuse(problems: readonly Problem[]): void {
  if (problems.length === 0) return
  const byOp = new Map<string, Problem[]>()
  for (const p of problems) byOp.set(p.op, [...(byOp.get(p.op) ?? []), p])
  const lines = [...byOp].map(([op, list]) => {
    const names = list.slice(0, 3).map((p) => p.node)
    const more = list.length > 3 ? `, … ${list.length - 3} more` : ''
    return `${op} × ${list.length} (${names.join(', ')}${more}): ${list[0]!.why}`
  })
  throw new AppError('UNSUPPORTED_OPS', {
    got: `\n  ${lines.join('\n  ')}`,
    fix: 'Replace these operators in the model, or compute them in _preprocess or _postprocess and name an inner tensor with --output.',
    data: {
      ops: [...byOp].map(([op, list]) => ({
        op,
        count: list.length,
        nodes: list.map((p) => p.node),
        why: list[0]!.why,
      })),
    },
  })
}

export type { TfTensor }
