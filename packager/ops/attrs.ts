import { AppError } from '../../src/errors.ts'
import type { TfDType } from '../formats/proto/tensorflow.ts'
import type { Attr, TfNode } from '../graph.ts'
import type { AttrSpec, FuncAttr } from './op.ts'

const KINDS = new Set([
  'int',
  'float',
  'bool',
  'string',
  'type',
  'shape',
  'tensor',
  'func',
  'ints',
  'floats',
  'strings',
  'types',
  'shapes',
  'funcs',
])

/** Attributes of a node by its row's spec, defaults filled. @throws {AppError} UNSUPPORTED_OPS for a missing one or an unknown enum member */
export function readAttrs(node: TfNode, spec: AttrSpec): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const [name, kind] of Object.entries(spec)) {
    const given = node.attrs[name]
    if (typeof kind === 'string' && KINDS.has(kind)) {
      if (given === undefined) throw unsupported(node, `attribute ${name}`, 'none')
      out[name] = unwrap(given)
    } else if (given === undefined)
      out[name] = Array.isArray(kind) && typeof kind[0] === 'string' ? kind[0] : (kind ?? undefined)
    else {
      out[name] = unwrap(given)
      if (Array.isArray(kind) && typeof kind[0] === 'string' && !kind.includes(out[name] as never))
        throw unsupported(node, `${name} one of ${kind.join(', ')}`, String(out[name]))
    }
  }
  return out
}

function unwrap(a: Attr): Attr | TfDType | readonly (number | null)[] | undefined | object | FuncAttr {
  if (Array.isArray(a)) return a.map((x) => unwrap(x as Attr)) as Attr
  if (typeof a !== 'object') return typeof a === 'bigint' ? Number(a) : a
  if ('dtype' in a) return a.dtype
  if ('shape' in a) return a.shape
  if ('tensor' in a) return a.tensor
  return a
}

function unsupported(node: TfNode, expected: string, got: string): AppError {
  return new AppError('UNSUPPORTED_OPS', { where: `${node.op} node ${node.name}`, expected, got })
}
