import { AppError } from '../../src/errors.ts'
import { spell } from '../../src/tensor.ts'
import type { Bundle } from '../formats/bundle.ts'
import type { TfNode, TfShape, TfTensor } from '../graph.ts'

/**
 * The value of a variable node. TF2 models name it by the object graph; TF1 ones by the node's own name (reference variables)
 * or its shared_name (resource variables). Each value is read once. @throws {AppError} CHECKPOINT_MISMATCH
 */
export function variablesFrom(
  open: () => Bundle,
  objects: () => ReadonlyMap<string, string> | undefined,
): (node: TfNode) => TfTensor {
  const values = new Map<string, TfTensor>()
  let keys: ReadonlyMap<string, string> | undefined
  return (node) => {
    keys ??= objects() ?? new Map()
    const shared = typeof node.attrs.shared_name === 'string' ? node.attrs.shared_name : ''
    const bundle = open()
    const candidates = [keys.get(node.name), keys.get(shared), shared, node.name].filter((k): k is string => !!k)
    const key = candidates.find((k) => bundle.has(k))
    if (key === undefined)
      throw new AppError('CHECKPOINT_MISMATCH', {
        where: `variable ${node.name}`,
        expected: `a tensor under ${candidates.map((c) => `'${c}'`).join(' or ')} in the checkpoint`,
        got: `${bundle.keys.length} other tensors`,
        fix: 'Graph and variables/ must come from the same export.',
      })
    const known = values.get(key)
    if (known) return known
    checkShape(node, key, bundle)
    const value = bundle.read(key)
    values.set(key, value)
    return value
  }
}

function checkShape(node: TfNode, key: string, bundle: Bundle): void {
  const stored = bundle.describe(key)!
  const shape = attrShape(node)
  const dtype =
    typeof node.attrs.dtype === 'object' && 'dtype' in node.attrs.dtype ? node.attrs.dtype.dtype : stored.dtype
  const fits =
    !shape || (shape.length === stored.shape.length && shape.every((d, i) => d === null || d === stored.shape[i]))
  if (fits && dtype === stored.dtype) return
  throw new AppError('CHECKPOINT_MISMATCH', {
    where: `variable ${node.name}`,
    expected: spell(dtype, shape ?? null),
    got: `${spell(stored.dtype, stored.shape)} under '${key}' in the checkpoint`,
    fix: 'Graph and variables/ must come from the same export.',
  })
}

function attrShape(node: TfNode): TfShape {
  const s = node.attrs.shape
  return typeof s === 'object' && 'shape' in s ? s.shape : undefined
}
