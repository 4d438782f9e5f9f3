import { AppError } from '../../src/errors.ts'
import type { TfDType } from '../formats/proto/tensorflow.ts'
import type { Attr, TfNode } from '../graph.ts'
import type { AttrKind, AttrSpec, FuncAttr } from './op.ts'

const isNumber = (a: Attr): boolean => typeof a === 'number' || typeof a === 'bigint'
const holds =
  (key: string) =>
  (a: Attr): boolean =>
    typeof a === 'object' && key in a
const listOf =
  (check: (a: Attr) => boolean) =>
  (a: Attr): boolean =>
    Array.isArray(a) && a.every(check)
const isBool = (a: Attr): boolean => typeof a === 'boolean' || typeof a === 'number'
const isText = (a: Attr): boolean => typeof a === 'string'

/** What a value of each kind looks like; a damaged file has others. */
const KINDS: Readonly<Record<AttrKind, (a: Attr) => boolean>> = {
  int: isNumber,
  float: isNumber,
  bool: isBool,
  string: isText,
  type: holds('dtype'),
  shape: holds('shape'),
  tensor: holds('tensor'),
  func: holds('func'),
  ints: listOf(isNumber),
  floats: listOf(isNumber),
  strings: listOf(isText),
  types: listOf(holds('dtype')),
  shapes: listOf(holds('shape')),
  funcs: listOf(holds('func')),
}

/**
 * Attributes of a node by its row's spec, defaults filled.
 * @throws {AppError} UNSUPPORTED_OPS for a missing one or an unknown enum member, BAD_MODEL_FILE for one of another kind
 */
export function readAttrs(node: TfNode, spec: AttrSpec): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const [name, kind] of Object.entries(spec)) {
    const given = node.attrs[name]
    if (typeof kind === 'string' && Object.hasOwn(KINDS, kind)) {
      if (given === undefined) throw unsupported(node, `attribute ${name}`, 'none')
      if (!KINDS[kind as AttrKind](given))
        throw new AppError('BAD_MODEL_FILE', {
          where: `attribute ${name} of ${node.op} node ${node.name}`,
          expected: kind,
          got: Array.isArray(given) ? 'a list' : `a ${typeof given}`,
        })
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
