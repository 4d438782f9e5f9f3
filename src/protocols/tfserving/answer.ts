import { AppError } from '../../errors.ts'
import { fromBfloat, fromHalf } from '../../half.ts'
import type { Signature } from '../../manifest.ts'
import { sizeOf, type Tensor } from '../../tensor.ts'
import { formatDouble, formatFloat, formatString } from '../../tensorjson/format.ts'
import type { Tensors } from '../../types.ts'

const INDENT = '    '

/** `{"predictions": …}`: one value a row, or one object where there are several outputs. */
export function writeRows(outputs: Tensors, signature: Signature): string {
  const named = Object.entries(outputs)
  const batch = batchOf(named)
  const writers = named.map(([alias, t]) => [alias, writerOf(alias, t, signature)] as const)
  const lines: string[] = []
  for (let row = 0; row < batch; row++) {
    if (writers.length === 1) lines.push(writers[0]![1](row, INDENT.repeat(2)))
    else
      lines.push(
        writeMembers(
          writers.map(([alias, write]) => [alias, write(row, INDENT.repeat(3))]),
          INDENT.repeat(2),
        ),
      )
  }
  if (batch === 0) return wrap('predictions', '[]')
  const [start, between] = writers.length === 1 ? ['', ', '] : [`\n${INDENT.repeat(2)}`, `,\n${INDENT.repeat(2)}`]
  return wrap('predictions', `[${start}${lines.join(between)}\n${INDENT}]`)
}

/**
 * `{"outputs": …}`: the only output, or an object of all. Lists are on one line here too: TensorFlow Serving writes each number of this
 * form on its own, which is the same JSON at several times the size, and the fronts of Lambda cut off at 6 MB.
 */
export function writeColumns(outputs: Tensors, signature: Signature): string {
  const named = Object.entries(outputs)
  if (named.length === 1) {
    const [alias, t] = named[0]!
    return wrap('outputs', writerOf(alias, t, signature, 0)(0, INDENT))
  }
  const members = named.map(([alias, t]) => [alias, writerOf(alias, t, signature, 0)(0, INDENT.repeat(2))] as const)
  return wrap('outputs', writeMembers(members, INDENT))
}

export function wrap(key: string, value: string): string {
  return `{\n${INDENT}"${key}": ${value}\n}`
}

function writeMembers(members: readonly (readonly [string, string])[], indent: string): string {
  const inner = indent + INDENT
  return `{\n${members.map(([name, value]) => `${inner}${formatString(name)}: ${value}`).join(',\n')}\n${indent}}`
}

/** Rows need a first dimension, the same of all outputs. */
function batchOf(named: readonly (readonly [string, Tensor])[]): number {
  let batch: number | undefined
  for (const [alias, { shape }] of named) {
    const [own] = shape
    if (own === undefined) throw noRows(`Tensor name: ${alias} has no shape information `, alias, 'no dimension')
    if (batch !== undefined && own !== batch)
      throw noRows(
        `Tensor name: ${alias} has inconsistent batch size: ${own} expecting: ${batch}`,
        alias,
        `${own} rows where others have ${batch}`,
      )
    batch = own
  }
  if (batch === undefined) throw noRows('Cannot convert empty tensor map to JSON', 'the outputs', 'none')
  return batch
}

function noRows(reply: string, alias: string, got: string): AppError {
  const fix = "Ask for columns: send 'inputs' instead of 'instances'."
  return new AppError('BAD_REQUEST', { where: `output ${alias}`, expected: 'rows of one batch', got, fix, reply })
}

type Element = number | bigint | string

/** How an element is written; the indent is that of the line it stands on. */
const ELEMENTS: Readonly<Record<Tensor['dtype'], (x: Element) => string>> = {
  float32: (x) => formatFloat(Number(x)),
  float64: (x) => formatDouble(Number(x)),
  float16: (x) => formatFloat(fromHalf(Number(x))),
  bfloat16: (x) => formatFloat(fromBfloat(Number(x))),
  int8: String,
  int16: String,
  int32: String,
  int64: String,
  uint8: String,
  uint16: String,
  uint32: String,
  uint64: String,
  bool: (x) => (x ? 'true' : 'false'),
  string: (x) => formatString(String(x)),
}

type Write = (row: number, indent: string) => string

/** One row of a tensor, or with `from` 0 all of it. */
function writerOf(alias: string, t: Tensor, { outputs }: Signature, from = 1): Write {
  const inBytes = t.dtype === 'string' && alias.endsWith('_bytes')
  const encoding = outputs[alias]?.bytes ? 'latin1' : 'utf8'
  const write = ELEMENTS[t.dtype]
  const dims = t.shape.slice(from)
  const size = sizeOf(dims)
  return (row, indent) => {
    let at = row * size
    const level = (depth: number, indent: string): string => {
      if (depth === dims.length) {
        const x = t.data[at++]!
        return inBytes ? base64(Buffer.from(String(x), encoding), indent) : write(x)
      }
      const parts = new Array<string>(dims[depth]!)
      for (let i = 0; i < parts.length; i++) parts[i] = level(depth + 1, indent + INDENT)
      return `[${parts.join(', ')}]`
    }
    return level(0, indent)
  }
}

function base64(bytes: Buffer, indent: string): string {
  return writeMembers([['b64', `"${bytes.toString('base64')}"`]], indent)
}
