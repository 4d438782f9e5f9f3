import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { readNpy } from '../../src/npy.ts'
import { openNpz } from '../formats/npz.ts'
import { evaluate } from './evaluate.ts'
import { serializedExamples } from './example.ts'
import { fromTensor } from './feed.ts'
import type { NdArray } from './ndarray.ts'
import { ValueProblem, wrong } from './problem.ts'
import { Budget, toArray } from './value.ts'

export interface InputOptions {
  readonly inputs?: string
  readonly exprs?: string
  readonly examples?: string
}

/**
 * The arrays that the three options of `saved_model_cli run` give, by input: the later option wins over the earlier.
 * @throws {AppError} USAGE, BAD_REQUEST for files, BAD_EXAMPLE
 */
export function readInputs(o: InputOptions, warn: (text: string) => void): Map<string, NdArray> {
  if (!o.inputs && !o.exprs && !o.examples)
    throw new AppError('USAGE', {
      got: 'At least one of --inputs, --input_exprs or --input_examples must be required',
    })
  const out = new Map<string, NdArray>()
  for (const [key, spec] of split(o.inputs ?? '', '--inputs')) out.set(key, fromFile(spec, warn))
  for (const [key, text] of split(o.exprs ?? '', '--input_exprs')) {
    if (out.has(key))
      warn(
        `input_key ${key} has been specified with both --inputs and --input_exprs options. Value in --input_exprs will be used.`,
      )
    out.set(key, expression(text, key))
  }
  for (const [key, text] of split(o.examples ?? '', '--input_examples')) {
    if (out.has(key))
      warn(`input_key ${key} has been specified in multiple options. Value in --input_examples will be used.`)
    const place = { option: '--input_examples', input: key }
    const data = serializedExamples(evaluate(text, place, true), key)
    out.set(key, { dtype: 'bytes', shape: [data.length], data })
  }
  return out
}

function expression(text: string, key: string): NdArray {
  const place = { option: '--input_exprs', input: key }
  const value = evaluate(text, place)
  try {
    return toArray(value, new Budget())
  } catch (e) {
    if (e instanceof ValueProblem) throw wrong(place, 0, e.expected, e.got)
    throw e
  }
}

/** `key=text;key=text`. A semicolon inside quotes belongs to the text. @throws {AppError} USAGE */
function split(all: string, option: string): [string, string][] {
  const parts = all.match(/(?:[^;'"]|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|['"])+/gs) ?? []
  return parts
    .filter((p) => p.trim() !== '')
    .map((p) => {
      const at = p.indexOf('=')
      if (at > 0) return [p.slice(0, at).trim(), p.slice(at + 1)]
      throw new AppError('USAGE', { where: option, expected: '<input_key>=<value>', got: 'text without =' })
    })
}

/** `x.npy`, `x.npz` or `x.npz[name]`. */
function fromFile(spec: string, warn: (text: string) => void): NdArray {
  const match = /^([^[\]]+)(?:\[([^[\]]+)\])?$/.exec(spec)
  if (!match)
    throw new AppError('USAGE', {
      where: '--inputs',
      expected: '<input_key>=<filename> or <input_key>=<filename>[<variable_name>]',
      got: `'${spec.slice(0, 80)}'`,
    })
  const [, path = '', name] = match
  if (!existsSync(path) || !statSync(path).isFile())
    throw new AppError('USAGE', { where: '--inputs', expected: 'a file', got: `${path}, which is none` })
  const [bytes, where] = [readFileSync(path), basename(path)]
  if (bytes.toString('latin1', 0, 6) === '\x93NUMPY') {
    if (name !== undefined) warn(`Input file ${path} contains a single ndarray. Name key "${name}" ignored.`)
    return fromTensor(readNpy(bytes, where))
  }
  if (bytes.toString('latin1', 0, 2) !== 'PK')
    throw new AppError('BAD_REQUEST', {
      where,
      expected: 'a .npy or .npz file',
      got: 'another kind of file',
      fix: 'A pickle is a program and is not run: load it in Python and save its array with np.save.',
    })
  const npz = openNpz(bytes, where)
  const wanted = name ?? (npz.names.length === 1 ? npz.names[0]! : undefined)
  if (wanted === undefined)
    throw new AppError('USAGE', {
      got: `Input file ${path} contains more than one ndarrays. Please specify the name of ndarray to use`,
      fix: `It has ${npz.names.join(', ') || 'none'}.`,
    })
  const found = npz.read(wanted)
  if (!found)
    throw new AppError('USAGE', {
      got: `Input file ${path} does not contain variable with name "${wanted}"`,
      fix: `It has ${npz.names.join(', ') || 'none'}.`,
    })
  return fromTensor(readNpy(found, `${where}[${wanted}]`))
}
