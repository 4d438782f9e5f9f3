import { AppError } from '../../../src/errors.ts'
import type { Tensor } from '../../../src/tensor.ts'
import type { Variable, WeightStore } from '../../kerasmodel.ts'
import type { KLayer } from './layer.ts'
import { isModel } from './tree.ts'

/** Gives a layer's variables by their place among its own. */
export type Variables = (layer: KLayer, index: number, name: string) => Tensor

const ADVICE = 'Architecture and weights must come from the same model.'

function missing(store: WeightStore, layer: KLayer, name: string, got: string): AppError {
  return new AppError('CHECKPOINT_MISMATCH', {
    where: store.file,
    expected: `${name} of ${layer.type} layer '${layer.name}'`,
    got,
    fix: ADVICE,
  })
}

/** @throws {AppError} CHECKPOINT_MISMATCH from the function it gives, for a variable that is not there */
export function variablesOf(store: WeightStore, root: KLayer): Variables {
  if (store.kind === 'paths') return byPath(store)
  return store.kind === 'layers' ? byLayer(store, root) : byName(store, root)
}

/** Older files spell some attributes with an underscore, and the list of layers by its Keras 2 name. */
function spellings(path: string): string[] {
  const private_ = path.replace(/(^|\/)([a-z]+_dense)$/, '$1_$2')
  const plain = path.replace(/(^|\/)_([a-z]+_dense)$/, '$1$2')
  const all = [...new Set([path, private_, plain])]
  return [...all, ...all.map((p) => p.replaceAll(/(^|\/)layers\//g, '$1_layer_checkpoint_dependencies/'))]
}

function byPath(store: WeightStore & { kind: 'paths' }): Variables {
  return (layer, index, name) => {
    for (const path of spellings(layer.path))
      for (const variable of [index, name]) {
        const full = `${path === '' ? '' : `${path}/`}vars/${variable}`
        if (store.has(full)) return store.read(full)
      }
    throw missing(store, layer, name, `nothing at ${layer.path}/vars/${index}`)
  }
}

interface Slot {
  readonly layer: KLayer
  readonly index: number
  readonly trained: boolean
}

/** All variables of a layer and of those inside it, as .h5 files order them: what is trained first. */
function slots(layer: KLayer): Slot[] {
  const own = (layer.row.vars?.(layer.config) ?? []).flatMap((name, index) =>
    name.startsWith('@') ? [] : [{ layer, index, trained: layer.trainable && !name.startsWith('~') }],
  )
  return [...own, ...[...layer.children.values()].flatMap(slots)]
}

function inFileOrder(layer: KLayer): Slot[] {
  const all = slots(layer)
  return [...all.filter((s) => s.trained), ...all.filter((s) => !s.trained)]
}

type Found = Map<KLayer, Map<number, Variable>>

function assign(found: Found, wanted: readonly Slot[], variables: readonly Variable[]): void {
  for (const [i, slot] of wanted.entries()) {
    const own = found.get(slot.layer) ?? new Map<number, Variable>()
    own.set(slot.index, variables[i]!)
    found.set(slot.layer, own)
  }
}

function reader(store: WeightStore, found: Found): Variables {
  return (layer, index, name) => {
    const variable = found.get(layer)?.get(index)
    if (variable) return variable.read()
    throw missing(store, layer, name, 'no such variable')
  }
}

/** Layers with weights are matched by their order, as Keras does, after a match by name has been tried. */
function byLayer(store: WeightStore & { kind: 'layers' }, root: KLayer): Variables {
  const found: Found = new Map()
  const wanted = [...root.children.values()]
    .map((l) => ({ layer: l, list: inFileOrder(l) }))
    .filter((w) => w.list.length > 0)
  const stored = [...store.layers].filter(([, list]) => list.length > 0)
  const named = wanted.every((w) => store.layers.has(w.layer.name))
  if (!named && stored.length !== wanted.length)
    throw new AppError('CHECKPOINT_MISMATCH', {
      where: store.file,
      expected: `weights for ${wanted.length} layers`,
      got: `${stored.length} layers with weights`,
      fix: ADVICE,
    })
  for (const [i, { layer, list }] of wanted.entries()) {
    const variables = named ? store.layers.get(layer.name)! : stored[i]![1]
    if (variables.length !== list.length) throw counts(store, layer, list.length, variables.length)
    assign(found, list, variables)
  }
  return reader(store, found)
}

const counts = (store: WeightStore, layer: KLayer, expected: number, got: number): AppError =>
  new AppError('CHECKPOINT_MISMATCH', {
    where: store.file,
    expected: `${expected} weights of ${layer.type} layer '${layer.name}'`,
    got: `${got}`,
    fix: ADVICE,
  })

/** Names hold the layer's name among their parts; models inside models leave theirs out. */
function byName(store: WeightStore & { kind: 'names' }, root: KLayer): Variables {
  const found: Found = new Map()
  const visit = (layer: KLayer): void => {
    const list = inFileOrder(layer)
    const variables = store.variables.filter((v) => v.name.split('/').slice(0, -1).includes(layer.name))
    // a wrapper around a model is left out with it
    if (isModel(layer.type) || (variables.length === 0 && layer.children.size > 0)) {
      for (const child of layer.children.values()) visit(child)
      return
    }
    if (variables.length !== list.length && list.length > 0) throw counts(store, layer, list.length, variables.length)
    assign(found, list, variables)
  }
  visit(root)
  return reader(store, found)
}
