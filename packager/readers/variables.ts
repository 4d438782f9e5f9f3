import { AppError } from '../../src/errors.ts'
import { spell } from '../../src/tensor.ts'
import type { Bundle } from '../formats/bundle.ts'
import type { TfNode, TfShape, TfTensor } from '../graph.ts'
import type { Part } from './slices.ts'

export interface VariableNames {
  /** checkpoint keys by node name, from the object graph of TF2 */
  objects?(): ReadonlyMap<string, string>
  /** parts of partitioned variables by node name */
  parts?(): ReadonlyMap<string, Part>
  /** what an init op puts into a variable that is not in the checkpoint */
  initial?(node: TfNode): TfTensor | undefined
}

/**
 * The value of a variable node. TF2 models name it by the object graph; TF1 ones by the node's own name (reference variables)
 * or its shared_name (resource variables). Each value is read once. @throws {AppError} CHECKPOINT_MISMATCH
 */
export function variablesFrom(open: () => Bundle, names: VariableNames): (node: TfNode) => TfTensor {
  const values = new Map<string, TfTensor>()
  let keys: ReadonlyMap<string, string> | undefined
  let parts: ReadonlyMap<string, Part> | undefined
  const once = (id: string, read: () => TfTensor): TfTensor => {
    const value = values.get(id) ?? read()
    values.set(id, value)
    return value
  }
  return (node) => {
    keys ??= names.objects?.() ?? new Map()
    const shared = typeof node.attrs.shared_name === 'string' ? node.attrs.shared_name : ''
    const bundle = open()
    const candidates = [keys.get(node.name), keys.get(shared), shared, node.name].filter((k): k is string => !!k)
    const stored = candidates.filter((k) => bundle.has(k))
    const key = stored.find((k) => misfit(node, k, bundle) === undefined)
    if (key !== undefined) return once(key, () => bundle.read(key))
    parts ??= names.parts?.() ?? new Map()
    const part = parts.get(node.name)
    if (part && bundle.has(part.key)) {
      checkPart(node, part, bundle)
      return once(`${part.key} ${part.start} ${part.size}`, () => bundle.slice(part.key, part.start, part.size))
    }
    const initial = names.initial?.(node)
    if (initial) return initial
    if (stored[0] !== undefined) throw misfit(node, stored[0], bundle)
    throw new AppError('CHECKPOINT_MISMATCH', {
      where: `variable ${node.name}`,
      expected: `a tensor under ${[...candidates, ...(part ? [part.key] : [])].map((c) => `'${c}'`).join(' or ')} in the checkpoint`,
      got: `${bundle.keys.length} other tensors`,
      fix: FIX,
    })
  }
}

const FIX = 'Graph and variables/ must come from the same export.'

/** Why the tensor under a key is not the value of a variable, or undefined. */
function misfit(node: TfNode, key: string, bundle: Bundle): AppError | undefined {
  const stored = bundle.describe(key)!
  const shape = attrShape(node)
  const dtype = attrType(node) ?? stored.dtype
  const fits =
    !shape || (shape.length === stored.shape.length && shape.every((d, i) => d === null || d === stored.shape[i]))
  if (fits && dtype === stored.dtype) return undefined
  return new AppError('CHECKPOINT_MISMATCH', {
    where: `variable ${node.name}`,
    expected: spell(dtype, shape ?? null),
    got: `${spell(stored.dtype, stored.shape)} under '${key}' in the checkpoint`,
    fix: FIX,
  })
}

function checkPart(node: TfNode, part: Part, bundle: Bundle): void {
  const stored = bundle.describe(part.key)!
  const dtype = attrType(node) ?? stored.dtype
  const fits =
    part.size.length === stored.shape.length && part.size.every((d, i) => part.start[i]! + d <= stored.shape[i]!)
  if (fits && dtype === stored.dtype) return
  throw new AppError('CHECKPOINT_MISMATCH', {
    where: `variable ${node.name}`,
    expected: `${spell(dtype, part.size)} at [${part.start}]`,
    got: `${spell(stored.dtype, stored.shape)} under '${part.key}' in the checkpoint`,
    fix: FIX,
  })
}

function attrType(node: TfNode): string | undefined {
  const t = node.attrs.dtype
  return typeof t === 'object' && 'dtype' in t ? t.dtype : undefined
}

function attrShape(node: TfNode): TfShape {
  const s = node.attrs.shape
  return typeof s === 'object' && 'shape' in s ? s.shape : undefined
}
