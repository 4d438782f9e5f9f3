import { bytesToString, textOf } from './bytestring.ts'
import { AppError } from './errors.ts'
import { fingerprint64, fingerprintCat64, hash64, sipHash } from './fingerprint.ts'
import type { CutSpec } from './manifest.ts'
import { type Format, printf } from './printf.ts'
import { ARRAY_STEPS } from './stringarrays.ts'
import type { Tensor } from './tensor.ts'

/**
 * What a model does with its strings before anything can be numbers: small programs over text, which ONNX lacks operators for.
 * Registers 0 to n - 1 are the inputs of the cut; every step reads registers and appends its results.
 */
export interface StringProgram {
  readonly steps: readonly Step[]
  /** registers that are the outputs of the cut */
  readonly outputs: readonly number[]
}

export interface Step {
  readonly op: string
  readonly in: readonly number[]
  /** all else the step needs to know; plain JSON */
  readonly [attr: string]: unknown
}

export type StepRule = (x: readonly Tensor[], a: Step) => readonly Tensor[]

const texts = (t: Tensor | undefined): string[] => {
  if (Array.isArray(t?.data)) return t.data
  throw new AppError('WRONG_DTYPE', { where: 'a string operation', expected: 'string', got: t?.dtype ?? 'nothing' })
}
const ints = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number | bigint>, Number)
const strings = (shape: readonly number[], data: string[]): Tensor => ({ dtype: 'string', shape, data })
const longs = (shape: readonly number[], data: ArrayLike<number | bigint>): Tensor => ({
  dtype: 'int64',
  shape,
  data: BigInt64Array.from(data as ArrayLike<number>, BigInt),
})
const int32s = (shape: readonly number[], data: readonly number[]): Tensor => ({
  dtype: 'int32',
  shape,
  data: Int32Array.from(data),
})

const each =
  (f: (s: string, a: Step) => string): StepRule =>
  ([x], a) => [
    strings(
      x!.shape,
      texts(x).map((s) => f(s, a)),
    ),
  ]

const bucket =
  (hash: (bytes: Buffer, a: Step) => bigint): StepRule =>
  ([x], a) => {
    const buckets = BigInt(a.buckets as string)
    return [longs(x!.shape, texts(x).map((s) => BigInt.asIntN(64, hash(Buffer.from(s, 'utf8'), a) % buckets)) as never)]
  }

const lowerAscii = (s: string) => s.replace(/[A-Z]+/g, (m) => m.toLowerCase())
const upperAscii = (s: string) => s.replace(/[a-z]+/g, (m) => m.toUpperCase())
const SPACE = '[ \\t\\n\\v\\f\\r]'
const EDGES = new RegExp(`^${SPACE}+|${SPACE}+$`, 'g')
const GAPS = new RegExp(SPACE)

/** Tokens of one string (StringSplitV2): between separators, or between runs of ASCII whitespace where there is none. */
export function split(text: string, sep: string, max: number): string[] {
  if (sep === '') {
    const out: string[] = []
    let rest = text.replace(new RegExp(`^${SPACE}+`), '')
    while (rest !== '') {
      const end = rest.search(GAPS)
      out.push(end < 0 ? rest : rest.slice(0, end))
      rest = end < 0 ? '' : rest.slice(end).replace(new RegExp(`^${SPACE}+`), '')
      if (max > 0 && out.length === max) return [...out, rest]
    }
    return out
  }
  const parts = text.split(sep)
  return max > 0 && parts.length > max + 1 ? [...parts.slice(0, max), parts.slice(max).join(sep)] : parts
}

/** Lists of strings as TensorFlow's sparse triple. */
function sparse(lists: readonly string[][]): Tensor[] {
  const values = lists.flat()
  const indices = lists.flatMap((list, row) => list.flatMap((_, i) => [row, i]))
  const width = lists.reduce((n, l) => Math.max(n, l.length), 0)
  return [longs([values.length, 2], indices), strings([values.length], values), longs([2], [lists.length, width])]
}

/** RE2 does not take an empty match right behind the last one, JavaScript does. */
function replaced(text: string, pattern: RegExp, rewrite: string, all: boolean): string {
  let out = ''
  let at = 0
  let last = -1
  for (const m of text.matchAll(pattern)) {
    if (m[0] === '' && m.index === last) continue
    out +=
      text.slice(at, m.index) + rewrite.replace(/\\(\d|\\)/g, (_, d: string) => (d === '\\' ? d : (m[Number(d)] ?? '')))
    at = m.index + m[0].length
    last = at
    if (!all) break
  }
  return out + text.slice(at)
}

function substr(text: string, from: number, count: number, unit: unknown): string {
  const units = unit === 'UTF8_CHAR' ? [...text] : Buffer.from(text, 'utf8')
  const start = from < 0 ? from + units.length : from
  if (start < 0 || start > units.length)
    throw new AppError('WRONG_SHAPE', {
      where: 'Substr',
      expected: 'positions inside of the strings',
      got: 'one outside',
    })
  const part = units.slice(start, start + Math.max(0, count))
  return Array.isArray(part) ? part.join('') : textOf(part)
}

/** Broadcasting of small integer operands to the first one's elements. */
function spread(t: Tensor, like: Tensor): (i: number) => number {
  const values = ints(t)
  if (values.length === 1) return () => values[0]!
  if (values.length === like.data.length) return (i) => values[i]!
  throw new AppError('WRONG_SHAPE', { where: 'Substr', expected: `[${like.shape}]`, got: `[${t.shape}]` })
}

function formatted(t: Tensor, f: Format): string[] {
  if (t.dtype === 'bool') return Array.from(t.data as Uint8Array, (v) => (v ? 'true' : 'false'))
  return Array.from(t.data as ArrayLike<number | bigint>, (v) => printf(f.type === 'd' ? BigInt(v) : Number(v), f))
}

function codePoints(x: Tensor): { splits: number[]; points: number[]; starts: number[] } {
  const [splits, points, starts]: [number[], number[], number[]] = [[0], [], []]
  for (const text of texts(x)) {
    let byte = 0
    for (const c of text) {
      points.push(c.codePointAt(0)!)
      starts.push(byte)
      byte += Buffer.byteLength(c)
    }
    splits.push(points.length)
  }
  return { splits, points, starts }
}

/** The web-safe alphabet, padded or not. `bytes`: the result spells bytes, for a decoder of files. */
function fromBase64(text: string, bytes: unknown): string {
  if (!/^[\w-]*={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1)
    throw new AppError('WRONG_DTYPE', { where: 'DecodeBase64', expected: 'web-safe base64', got: 'another string' })
  const raw = Buffer.from(text, 'base64url')
  return bytes ? bytesToString(raw) : textOf(raw)
}

/** Every combination of one feature from each column, hashed: SparseCross over dense columns with hashed output. */
const cross: StepRule = (columns, a) => {
  const buckets = BigInt(a.buckets as string)
  const prints = columns.map((c) =>
    Array.isArray(c.data)
      ? c.data.map((s) => fingerprint64(Buffer.from(s, 'utf8')))
      : Array.from(c.data as ArrayLike<number | bigint>, (v) => BigInt.asUintN(64, BigInt(v))),
  )
  const rows = columns[0]!.shape[0]!
  const lists = Array.from({ length: rows }, (_, row) => {
    let acc = [BigInt(a.key as string)]
    for (const [k, c] of columns.entries()) {
      const width = c.data.length / Math.max(1, rows)
      const own = prints[k]!.slice(row * width, (row + 1) * width)
      acc = acc.flatMap((h) => own.map((p) => fingerprintCat64(h, p)))
    }
    return acc.map((h) => (buckets > 0n ? h % buckets : h & 0x7fffffffffffffffn))
  })
  const width = lists.reduce((n, l) => Math.max(n, l.length), 0)
  const indices = lists.flatMap((l, row) => l.flatMap((_, i) => [row, i]))
  const values = lists.flat()
  return [longs([values.length, 2], indices), longs([values.length], values as never), longs([2], [rows, width])]
}

/** Every step by its name; array steps carry the names of the ONNX operators that they repeat. */
export const STEPS: Readonly<Record<string, StepRule>> = {
  ...ARRAY_STEPS,
  lower: each((s, a) => (a.utf8 ? s.toLowerCase() : lowerAscii(s))),
  upper: each((s, a) => (a.utf8 ? s.toUpperCase() : upperAscii(s))),
  strip: each((s) => s.replace(EDGES, '')),
  regexReplace: ([x], a) => {
    const pattern = new RegExp(a.pattern as string, `${a.flags}g`)
    return [
      strings(
        x!.shape,
        texts(x).map((s) => replaced(s, pattern, a.rewrite as string, a.all === true)),
      ),
    ]
  },
  regexFullMatch: ([x], a) => {
    const pattern = new RegExp(`^(?:${a.pattern})$`, a.flags as string)
    return [{ dtype: 'bool', shape: x!.shape, data: Uint8Array.from(texts(x), (s) => Number(pattern.test(s))) }]
  },
  split: ([x], a) => sparse(texts(x).map((s) => split(s, a.sep as string, a.max as number))),
  // StringSplit, the first version: every character of the delimiter separates
  splitChars: ([x], a) =>
    sparse(
      texts(x).map((s) => {
        if (s === '') return []
        const delimiters = new Set(a.delimiters as string)
        const parts = delimiters.size === 0 ? [...s] : ['']
        if (delimiters.size > 0)
          for (const c of s) delimiters.has(c) ? parts.push('') : parts.push(`${parts.pop()}${c}`)
        return a.skipEmpty ? parts.filter((p) => p !== '') : parts
      }),
    ),
  join: (xs, a) => {
    const like = xs.find((x) => x.data.length !== 1) ?? xs[0]!
    const data = Array.from({ length: like.data.length }, (_, i) =>
      xs.map((x) => texts(x)[x.data.length === 1 ? 0 : i]).join(a.separator as string),
    )
    return [strings(like.shape, data)]
  },
  substr: ([x, pos, len], a) => {
    const [from, count] = [spread(pos!, x!), spread(len!, x!)]
    return [
      strings(
        x!.shape,
        texts(x).map((s, i) => substr(s, from(i), count(i), a.unit)),
      ),
    ]
  },
  length: ([x], a) => [
    int32s(
      x!.shape,
      texts(x).map((s) => (a.unit === 'UTF8_CHAR' ? [...s].length : Buffer.byteLength(s, 'utf8'))),
    ),
  ],
  decodeBase64: each((s, a) => fromBase64(s, a.bytes)),
  encodeBase64: each((s, a) => {
    const text = Buffer.from(s, 'utf8').toString('base64url')
    return a.pad ? text.padEnd(Math.ceil(text.length / 4) * 4, '=') : text
  }),
  hashFast: bucket(fingerprint64),
  hashOld: bucket(hash64),
  hashStrong: bucket((s, a) => {
    const [low, high] = (a.key as string[]).map((k) => BigInt.asUintN(64, BigInt(k)))
    return sipHash(s, [low!, high!])
  }),
  format: ([x], a) => [strings(x!.shape, formatted(x!, a.format as Format))],
  unicodeDecode: ([x]) => {
    const { splits, points, starts } = codePoints(x!)
    return [longs([splits.length], splits), int32s([points.length], points), longs([starts.length], starts)]
  },
  unicodeEncode: ([points, splits]) => {
    const [p, s] = [ints(points!), ints(splits!)]
    const legal = (c: number) => (c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0xfffd : c)
    const rows = s.slice(1).map((end, i) => String.fromCodePoint(...p.slice(s[i], end).map(legal)))
    return [strings([rows.length], rows)]
  },
  cross,
}

/** Runs a program; the outputs come in its order. @throws {AppError} WRONG_DTYPE, WRONG_SHAPE for inputs it cannot take */
export function runStrings(program: StringProgram, inputs: readonly Tensor[]): Tensor[] {
  const registers = [...inputs]
  for (const step of program.steps) {
    const rule = Object.hasOwn(STEPS, step.op) ? STEPS[step.op] : undefined
    if (!rule)
      throw new AppError('LOAD_FAILED', {
        where: 'a program over strings',
        expected: Object.keys(STEPS).join(', '),
        got: step.op,
        fix: 'Package the model with the version that runs it.',
      })
    registers.push(
      ...rule(
        step.in.map((r) => registers[r]!),
        step,
      ),
    )
  }
  return program.outputs.map((r) => registers[r]!)
}

export function stringCut(cut: CutSpec): (inputs: readonly Tensor[]) => Tensor[] {
  const program = cut.spec as Readonly<Record<string, unknown>> & StringProgram
  return (inputs) => runStrings(program, inputs)
}
