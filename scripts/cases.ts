import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { importSource } from '../packager/import.ts'
import { writeModel } from '../packager/onnx/write.ts'
import { isAppError } from '../src/errors.ts'
import { fromBfloat, fromHalf, toBfloat, toHalf } from '../src/half.ts'
import { parseNpy, readNpy } from '../src/npy.ts'
import { createSession } from '../src/session.ts'
import { DTYPES, type DType, sizeOf, type Tensor } from '../src/tensor.ts'

/** A model, inputs, and what TensorFlow answered: either tensors or an error. */
export interface Case {
  readonly name: string
  readonly model: string
  readonly signature: string | undefined
  readonly tags?: readonly string[]
  readonly format?: string
  /** a Keras file names its layers itself; cases recorded from another object of the same model may have other numbers in the names */
  readonly byPosition?: boolean
  readonly outputNames?: readonly string[]
  /** weights of an architecture in JSON */
  readonly weights?: string
  inputs(): Record<string, Tensor>
  /** undefined: TensorFlow errs, or it happens to run what breaks the declared shape, which may be refused */
  expected(): Record<string, Expected> | undefined
  readonly mayRefuse: boolean
  readonly rtol: number
  readonly atol: number
  readonly mtol?: number
  readonly check: { readonly value: boolean; readonly shape: boolean; readonly dtype: boolean }
}

export interface Expected {
  readonly dtype: string
  readonly shape: readonly number[]
  /** complex numbers as pairs */
  readonly data: ArrayLike<number | bigint | string>
}

/** Undefined when the case passes, otherwise why it does not. */
export async function runCase(c: Case, scratch: string): Promise<string | undefined> {
  const dir = join(scratch, 'model')
  mkdirSync(dir, { recursive: true })
  try {
    const expected = c.expected()
    const source = await importSource(c.model, {
      ...(c.tags && { tags: c.tags }),
      ...(c.outputNames && { outputs: c.outputNames }),
      ...(c.weights && { weights: c.weights }),
    })
    const only = source.import(c.signature ?? source.signatures[0]!)
    const graph = only.kind === 'file' ? relative(dir, only.path) : 'model.onnx'
    if (only.kind === 'graph') writeModel(join(dir, graph), only.graph, '0')
    const session = await createSession(dir, { graph, ...only.signature }, { level: 'extended' })
    try {
      const { inputs, outputs } = only.signature
      const fed = c.byPosition ? inOrder(c.inputs(), Object.keys(inputs)) : c.inputs()
      const answers = await session.run(fed)
      const got = c.byPosition && expected ? inOrder(answers, Object.keys(expected), Object.keys(outputs)) : answers
      if (!expected) return c.mayRefuse ? undefined : 'TensorFlow refuses this input, the import runs it'
      return compareAll(expected, got, c)
    } catch (e) {
      if (isAppError(e) && (!expected || c.mayRefuse)) return undefined
      throw e
    } finally {
      await session.close()
    }
  } catch (e) {
    return e instanceof Error ? `${e.message}${e.cause instanceof Error ? ` (${e.cause.message})` : ''}` : String(e)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Values under other names, where all of them have other ones; what has the right names keeps them. */
function inOrder<T>(given: Record<string, T>, wanted: readonly string[], own = Object.keys(given)): Record<string, T> {
  if (own.length !== wanted.length || own.every((k) => wanted.includes(k))) return given
  return Object.fromEntries(own.map((k, i) => [wanted[i]!, given[k]!]))
}

/** What is different, or undefined. */
export function compareAll(
  expected: Record<string, Expected>,
  got: Record<string, Tensor>,
  c: Pick<Case, 'rtol' | 'atol' | 'mtol' | 'check'>,
): string | undefined {
  for (const [name, e] of Object.entries(expected)) {
    const g = got[name]
    if (!g) return `output ${name} is missing; there are ${Object.keys(got)}`
    const why = compare(e, g, c)
    if (why) return `output ${name}: ${why}`
  }
  return undefined
}

function compare(e: Expected, g: Tensor, c: Pick<Case, 'rtol' | 'atol' | 'mtol' | 'check'>): string | undefined {
  const complex = e.dtype.startsWith('complex')
  const dtype = complex ? (e.dtype === 'complex64' ? 'float32' : 'float64') : e.dtype
  const shape = complex ? [...e.shape, 2] : e.shape
  if (c.check.dtype && g.dtype !== dtype) return `dtype ${g.dtype}, expected ${dtype}`
  if (c.check.shape && (g.shape.length !== shape.length || g.shape.some((d, i) => d !== shape[i])))
    return `shape [${g.shape}], expected [${shape}]`
  if (!c.check.value) return undefined
  const actual = numbers(g)
  if (actual.length !== e.data.length) return `${actual.length} elements, expected ${e.data.length}`
  let wrong = 0
  let first = -1
  for (let i = 0; i < actual.length; i++) {
    if (!close(e.data[i]!, actual[i]!, c)) {
      wrong++
      if (first < 0) first = i
    }
  }
  return wrong === 0
    ? undefined
    : `${wrong} of ${actual.length} differ, first at ${first}: ${String(actual[first])}, expected ${String(e.data[first])}`
}

function numbers(t: Tensor): ArrayLike<number | bigint | string> {
  if (t.dtype === 'float16') return Array.from(t.data as Uint16Array, fromHalf)
  if (t.dtype === 'bfloat16') return Array.from(t.data as Uint16Array, fromBfloat)
  return t.data as ArrayLike<number | bigint | string>
}

function close(
  e: number | bigint | string,
  a: number | bigint | string,
  c: Pick<Case, 'rtol' | 'atol' | 'mtol'>,
): boolean {
  if (typeof e === 'string' || typeof a === 'string') return e === a
  if (typeof e === 'bigint' && typeof a === 'bigint' && e === a) return true
  let [x, y] = [Number(e), Number(a)]
  if (c.mtol !== undefined) [x, y] = [x, y].map((v) => Math.max(-c.mtol!, Math.min(c.mtol!, v))) as [number, number]
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) && Number.isNaN(y)
  if (!Number.isFinite(x) || !Number.isFinite(y)) return x === y
  return Math.abs(x - y) <= c.atol + c.rtol * Math.abs(y)
}

// ---- reading the two layouts ------------------------------------------------------------------------------------------------

interface FileRef {
  name: string
  dtype: string
  file: string
}

export function loadCases(dir: string): Case[] {
  return existsSync(join(dir, 'cases.json')) ? loadModelCases(dir) : [loadOpCase(dir)]
}

function loadOpCase(dir: string): Case {
  const c = JSON.parse(readFileSync(join(dir, 'case.json'), 'utf8'))
  return {
    name: c.case,
    model: join(dir, 'saved_model'),
    signature: c.signature,
    inputs: () => Object.fromEntries(c.inputs.map((i: FileRef) => [i.name, readTensor(join(dir, i.file))])),
    expected: () => Object.fromEntries(c.outputs.map((o: FileRef) => [o.name, readExpected(join(dir, o.file))])),
    mayRefuse: false,
    rtol: c.rtol,
    atol: c.atol,
    ...(c.mtol !== null && { mtol: c.mtol }),
    check: { value: c.check_value && c.deterministic !== false, shape: c.check_shape, dtype: c.check_dtype },
  }
}

function readTensor(file: string): Tensor {
  if (file.endsWith('.json')) return JSON.parse(readFileSync(file, 'utf8')) as Tensor
  return readNpy(readFileSync(file), file)
}

function readExpected(file: string): Expected {
  if (file.endsWith('.json')) return JSON.parse(readFileSync(file, 'utf8')) as Expected
  const bytes = readFileSync(file)
  const { code, shape, bytes: data } = parseNpy(bytes, file)
  if (code === 'c8') return { dtype: 'complex64', shape, data: new Float32Array(Uint8Array.from(data).buffer) }
  if (code === 'c16') return { dtype: 'complex128', shape, data: new Float64Array(Uint8Array.from(data).buffer) }
  const t = readNpy(bytes, file)
  return { dtype: t.dtype, shape: t.shape, data: numbers(t) }
}

/** A tensor as cases.json and the vectors of the op tables have it: flat data, NaN and infinities as words. */
export interface JsonTensor {
  dtype: string
  shape: number[]
  data?: (number | string | boolean)[]
  npy?: string
  b64?: string[]
}
interface ModelCase {
  name: string
  artifact: string
  signature?: string
  inputs: Record<string, JsonTensor>
  outputs?: Record<string, JsonTensor>
  note?: string
  format?: string
  function?: string
  tags?: string[]
  weights?: string
  tolerance?: { rtol: number; atol: number }
}

/** Formats whose graphs have no names for clients: there the outputs are what is asked for. */
function namedByTensor(c: ModelCase): boolean {
  if (c.format !== undefined) return /^(frozen_graph|tf1_checkpoint)/.test(c.format)
  return c.signature === undefined
}

interface CaseFile {
  readonly tolerance: { rtol: number; atol: number }
  readonly artifacts: readonly { path: string; tags?: string[] }[]
  readonly cases: readonly ModelCase[]
}

/** One model's cases, or groups of cases by what made their models. */
function isCaseFile(file: CaseFile | Record<string, ModelCase[]>): file is CaseFile {
  return 'tolerance' in file
}

function loadModelCases(dir: string): Case[] {
  const file = JSON.parse(readFileSync(join(dir, 'cases.json'), 'utf8')) as CaseFile | Record<string, ModelCase[]>
  const [cases, common] = isCaseFile(file) ? [file.cases, file] : [Object.values(file).flat(), undefined]
  return cases.map((c) => {
    const tags = c.tags ?? common?.artifacts.find((a) => a.path === c.artifact)?.tags
    const tolerance = c.tolerance ?? common?.tolerance ?? { rtol: 1e-5, atol: 1e-6 }
    return {
      name: `${dir.split('/').at(-1)}/${c.name}`,
      model: join(dir, c.artifact),
      signature: c.signature ?? c.function,
      ...(tags && { tags }),
      ...(c.format && { format: c.format }),
      ...(/\.(keras|h5)$/.test(c.artifact) && { byPosition: true }),
      ...(c.weights && { weights: join(dir, c.weights) }),
      ...(namedByTensor(c) && c.outputs && { outputNames: Object.keys(c.outputs) }),
      inputs: () => Object.fromEntries(Object.entries(c.inputs).map(([k, t]) => [k, jsonTensor(t, dir)])),
      expected: () =>
        c.outputs && Object.fromEntries(Object.entries(c.outputs).map(([k, t]) => [k, jsonExpected(t, dir)])),
      mayRefuse: c.name.startsWith('flat_784') || c.name.startsWith('export__short'),
      ...tolerance,
      check: { value: true, shape: true, dtype: true },
    }
  })
}

const WORDS: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
}

export function jsonTensor(t: JsonTensor, dir = ''): Tensor {
  if (t.npy) return readNpy(readFileSync(join(dir, t.npy)), t.npy)
  const words = t.data ?? []
  if (t.dtype === 'string')
    return {
      dtype: 'string',
      shape: t.shape,
      data: t.data ? words.map(String) : t.b64!.map((b) => Buffer.from(b, 'base64').toString('latin1')),
    }
  // complex numbers are pairs, to the graph too
  if (t.dtype.startsWith('complex'))
    return jsonTensor({ ...t, dtype: t.dtype === 'complex64' ? 'float32' : 'float64', shape: [...t.shape, 2] }, dir)
  const dtype = t.dtype as Exclude<DType, 'string'>
  const store = STORED[t.dtype] ?? ((v: number) => v)
  const big = dtype === 'int64' || dtype === 'uint64'
  const out = new DTYPES[dtype].array(sizeOf(t.shape)) as { [i: number]: number | bigint } & Tensor['data']
  for (const [i, v] of words.entries()) out[i] = big ? BigInt(v) : store(WORDS[String(v)] ?? Number(v))
  return { dtype, shape: t.shape, data: out }
}

const STORED: Readonly<Record<string, (v: number) => number>> = { float16: toHalf, bfloat16: toBfloat }

export function jsonExpected(t: JsonTensor, dir = ''): Expected {
  const x = jsonTensor(t, dir)
  return t.dtype.startsWith('complex')
    ? {
        // sessions carry bfloat16 as float32
        dtype: t.dtype === 'bfloat16' ? 'float32' : t.dtype,
        shape: t.shape,
        data: numbers(x),
      }
    : { dtype: x.dtype, shape: x.shape, data: numbers(x) }
}
