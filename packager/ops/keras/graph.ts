import { AppError, isAppError } from '../../../src/errors.ts'
import { shown } from '../../../src/shown.ts'
import { isObject, type Json, type JsonObject } from '../../formats/jsonvalue.ts'
import { type Config, untupled } from './config.ts'
import { type Arg, isKTensor, type KLayer, type KTensor, type Result, tensorsOf } from './layer.ts'
import { type Context, runLayer } from './run.ts'
import { isModel, layersOf, namedLayers } from './tree.ts'

/** What a call of a layer gave: its tensors in order, or 'failed' where it cannot be imported. */
type Outputs = readonly KTensor[] | 'failed'

export interface Ref {
  readonly layer: string
  readonly node: number
  readonly tensor: number
}

function flat(r: Result | KTensor | readonly Result[]): KTensor[] {
  return Array.isArray(r) ? (r as readonly Result[]).flatMap(flat) : [r as KTensor]
}

function isRef(v: Json | undefined): v is readonly [string, number, number] {
  return (
    Array.isArray(v) && v.length >= 3 && typeof v[0] === 'string' && Number.isInteger(v[1]) && Number.isInteger(v[2])
  )
}

/** References to tensors in any nesting, in the order in which Keras flattens it. */
export function refsOf(v: Json | undefined, c: Config, name: string): Ref[] {
  if (isRef(v)) return [{ layer: v[0], node: v[1], tensor: v[2] }]
  if (Array.isArray(v)) return v.flatMap((x) => refsOf(x, c, name))
  if (isObject(v))
    return Object.keys(v)
      .sort()
      .flatMap((k) => refsOf(v[k], c, name))
  throw c.bad(name, 'references to layers', v)
}

/** Runs a model inside a model, or the whole one. */
export function runModel(layer: KLayer, args: readonly Arg[], mask: Arg | undefined, c: Context): Result {
  // masks that were given stay on the tensors, for whoever reads them later too
  const given = Array.isArray(mask) ? (mask as readonly Arg[]) : [mask]
  for (const [i, t] of tensorsOf(args[0] ?? null).entries()) {
    const own = given[i]
    if (isKTensor(own)) t.mask = own.value
  }
  if (layer.type === 'Sequential') return sequential(layer, args, c)
  const refs = refsOf(layer.config.get('input_layers'), layer.config, 'input_layers')
  const [input] = args
  const byName = isObject(input as Json) && !isKTensor(input) ? (input as { readonly [key: string]: Arg }) : undefined
  const named =
    byName && refs.every((r) => isKTensor(byName[r.layer])) ? refs.map((r) => byName[r.layer] as KTensor) : undefined
  const inputs = named ?? tensorsOf(input ?? null)
  if (inputs.length !== refs.length)
    throw new AppError('BAD_MODEL_FILE', {
      where: layer.config.where,
      expected: `${refs.length} inputs`,
      got: `${inputs.length}`,
    })
  const outputs = new FunctionalRun(layer, c).run(new Map(refs.map((r, i) => [r.layer, inputs[i]!])))
  return outputs.length === 1 ? outputs[0]! : outputs
}

function sequential(layer: KLayer, args: readonly Arg[], c: Context): Result {
  let current: Arg = args[0] ?? null
  for (const child of layer.children.values()) {
    if (child.type === 'InputLayer') continue
    const out = attempt(child, [current], {}, c)
    if (out === 'failed') throw stopped()
    current = out.length === 1 ? out[0]! : out
  }
  return tensorsOf(current)
}

/** Ends a walk whose problems have been noted. */
function stopped(): AppError {
  return new AppError('UNSUPPORTED_LAYER', { got: 'layers that cannot be imported', data: { noted: true } })
}

/** A call whose refusal is noted, so that one walk finds all of them. */
function attempt(layer: KLayer, args: readonly Arg[], kwargs: { readonly [key: string]: Arg }, c: Context): Outputs {
  try {
    return flat(runLayer(layer, args, kwargs, c))
  } catch (e) {
    if (!isAppError(e) || (e.code !== 'UNSUPPORTED_LAYER' && e.code !== 'UNSUPPORTED_OPS')) throw e
    if (!e.details.data?.noted)
      c.problems.push({
        type: layer.type,
        name: layer.name,
        why: [e.details.expected && `expected ${e.details.expected}`, e.details.got && `got ${e.details.got}`]
          .filter(Boolean)
          .join(', '),
        ...(e.details.fix && { fix: e.details.fix }),
      })
    return 'failed'
  }
}

/** Thrown inside argument resolution while a tensor has not been computed yet. */
const PENDING = Symbol('pending')

class FunctionalRun {
  private readonly layer: KLayer
  private readonly c: Context
  private readonly layers: Map<string, KLayer>
  private readonly done = new Map<string, Outputs[]>()
  private readonly offsets: Offsets

  constructor(layer: KLayer, c: Context) {
    this.layer = layer
    this.c = c
    this.layers = namedLayers(layer)
    this.offsets = c.keras < 3 ? keras2Offsets(layer.config) : keras3Offsets(this.layers)
  }

  run(inputs: ReadonlyMap<string, KTensor>): KTensor[] {
    for (const [name, t] of inputs) this.done.set(name, [[t]])
    let waiting = layersOf(this.layer.config).flatMap((json) => {
      const nodes = Array.isArray(json.inbound_nodes) ? json.inbound_nodes : []
      const name = nameOf(json)
      return inputs.has(name) ? [] : [{ name, nodes, next: 0 }]
    })
    while (waiting.length > 0) {
      let moved = false
      for (const w of waiting)
        while (w.next < w.nodes.length && this.node(w.name, w.nodes[w.next])) {
          w.next++
          moved = true
        }
      waiting = waiting.filter((w) => w.next < w.nodes.length)
      if (!moved && waiting.length > 0)
        throw new AppError('BAD_MODEL_FILE', {
          where: this.layer.config.where,
          expected: 'layers whose inputs can be computed',
          got: `a cycle or a missing layer around ${waiting
            .slice(0, 3)
            .map((w) => `'${w.name}'`)
            .join(', ')}`,
        })
    }
    return refsOf(this.layer.config.get('output_layers'), this.layer.config, 'output_layers').map((r) => {
      const t = this.tensor(r, this.offsets.outputs)
      if (t === 'failed') throw stopped()
      if (t === undefined) throw this.dangling(r)
      return t
    })
  }

  private dangling(r: Ref): AppError {
    return new AppError('BAD_MODEL_FILE', {
      where: this.layer.config.where,
      expected: `output ${r.tensor} of call ${r.node} of '${r.layer}'`,
      got: 'no such tensor',
    })
  }

  private tensor(r: Ref, offsets: ReadonlyMap<string, number>): KTensor | 'failed' | undefined {
    const calls = this.done.get(r.layer)
    const outputs = calls?.[r.node - (offsets.get(r.layer) ?? 0)]
    if (outputs === 'failed') return 'failed'
    if (outputs && !outputs[r.tensor]) throw this.dangling(r)
    return outputs?.[r.tensor]
  }

  /** Runs one call of a layer; false while an input is missing. */
  private node(name: string, node: Json | undefined): boolean {
    const layer = this.layers.get(name)
    if (!layer)
      throw new AppError('BAD_MODEL_FILE', {
        where: this.layer.config.where,
        expected: `a layer '${name}'`,
        got: 'none',
      })
    let failed = false
    const resolve = (r: Ref): Arg => {
      if (!this.layers.has(r.layer)) throw this.dangling(r)
      const t = this.tensor(r, this.offsets.calls)
      if (t === undefined) throw PENDING
      if (t === 'failed') failed = true
      return t === 'failed' ? null : t
    }
    let call: { args: Arg[]; kwargs: Record<string, Arg> }
    try {
      call = isObject(node) ? objectNode(node, resolve) : listNode(node, resolve, this.layer.config)
    } catch (e) {
      if (e === PENDING) return false
      throw e
    }
    const calls = this.done.get(name) ?? []
    calls.push(failed ? 'failed' : attempt(layer, call.args, call.kwargs, this.c))
    this.done.set(name, calls)
    return true
  }
}

function nameOf(json: JsonObject): string {
  const config = isObject(json.config) ? json.config : {}
  return shown(json.name ?? config.name ?? json.class_name)
}

/** From which number the calls of a model inside a model are counted, where calls and where the outputs refer to them. */
interface Offsets {
  readonly calls: ReadonlyMap<string, number>
  readonly outputs: ReadonlyMap<string, number>
}

/** Keras 3 counts the graph of a functional model itself as its first call, but only where the outputs refer to it. */
function keras3Offsets(layers: ReadonlyMap<string, KLayer>): Offsets {
  const functional = [...layers].filter(([, l]) => isModel(l.type) && l.type !== 'Sequential')
  return { calls: new Map(), outputs: new Map(functional.map(([name]) => [name, 1])) }
}

/** In files of Keras 2 the graph of a model is its first call everywhere: then a number appears that is one too high for the calls. */
function keras2Offsets(c: Config): Offsets {
  const most = new Map<string, number>()
  const note = (r: Ref): Arg => {
    most.set(r.layer, Math.max(most.get(r.layer) ?? 0, r.node))
    return null
  }
  const layers = layersOf(c)
  for (const json of layers)
    for (const node of Array.isArray(json.inbound_nodes) ? json.inbound_nodes : [])
      if (isObject(node)) objectNode(node, note)
      else listNode(node, note, c)
  for (const r of refsOf(c.get('output_layers'), c, 'output_layers')) note(r)
  const offsets = new Map(
    layers.map((json) => {
      const calls = Array.isArray(json.inbound_nodes) ? json.inbound_nodes.length : 0
      return [nameOf(json), calls > 0 && (most.get(nameOf(json)) ?? 0) >= calls ? 1 : 0]
    }),
  )
  return { calls: offsets, outputs: offsets }
}

type Resolve = (r: Ref) => Arg

/** Keras 3: {args, kwargs} with tensors as objects. */
function objectNode(node: JsonObject, resolve: Resolve): { args: Arg[]; kwargs: Record<string, Arg> } {
  const args = Array.isArray(node.args) ? node.args.map((a) => revived(a, resolve)) : []
  const kwargs = isObject(node.kwargs) ? Object.entries(node.kwargs) : []
  return { args, kwargs: Object.fromEntries(kwargs.map(([k, v]) => [k, revived(v, resolve)])) }
}

/** Keras 2: a list of [layer, call, output, keyword arguments]. */
function listNode(node: Json | undefined, resolve: Resolve, c: Config): { args: Arg[]; kwargs: Record<string, Arg> } {
  const list = Array.isArray(node) && typeof node[0] === 'string' ? [node] : node
  if (!Array.isArray(list)) throw c.bad('inbound_nodes', 'lists of calls', node)
  const tensors = list.map((v) => {
    if (!isRef(v)) throw c.bad('inbound_nodes', 'references to layers', v)
    return resolve({ layer: v[0], node: v[1], tensor: v[2] })
  })
  const given = list.map((v) => (Array.isArray(v) ? v[3] : undefined)).filter(isObject)
  const kwargs = Object.fromEntries(
    given
      .flatMap((k) => Object.entries(k))
      .map(([k, v]) => [k, isRef(v) ? resolve({ layer: v[0], node: v[1], tensor: v[2] }) : revived(v, resolve)]),
  )
  return { args: [tensors.length === 1 ? tensors[0]! : tensors], kwargs }
}

function revived(v: Json | undefined, resolve: Resolve): Arg {
  if (Array.isArray(v)) return v.map((x) => revived(x as Json, resolve))
  if (!isObject(v)) return (v ?? null) as boolean | number | string | null
  const config = isObject(v.config) ? v.config : {}
  switch (v.class_name) {
    case '__keras_tensor__': {
      const h = config.keras_history
      if (isRef(h)) return resolve({ layer: h[0], node: h[1], tensor: h[2] })
      throw new AppError('BAD_MODEL_FILE', { expected: 'keras_history of a tensor', got: 'none' })
    }
    case '__slice__':
      return { slice: [revived(config.start, resolve), revived(config.stop, resolve), revived(config.step, resolve)] }
    case '__ellipsis__':
      return 'Ellipsis'
    case '__tuple__':
      return revived(untupled(v), resolve)
    case '__tensor__':
    case '__numpy__':
      return revived(config.value, resolve)
  }
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, revived(x, resolve)]))
}
