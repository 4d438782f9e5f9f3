import type { Manifest, Signature } from '../../manifest.ts'
import { isBase64, toTensor } from '../../tensorjson/convert.ts'
import { isObject, type Json, member } from '../../tensorjson/value.ts'
import type { Tensors } from '../../types.ts'
import { findSignature, invalid, readBody, signatureName, wrongBody } from './body.ts'
import { rows } from './rows.ts'

/** The tensors of a request to :predict, and how its answer is written: `predictions` by row, or `outputs`. */
export interface PredictRequest {
  readonly signature: string
  readonly feeds: Tensors
  readonly form: 'row' | 'column'
}

/** @throws {AppError} with TensorFlow Serving's words */
export function readPredict(body: Uint8Array, manifest: Manifest): PredictRequest {
  const root = readBody(body, { narrow: takesFloatsOnly(manifest) })
  const name = signatureName(root)
  const signature = findSignature(manifest, name, `Serving signature name: "${name}" not found in signature def`)
  if (Object.keys(signature.inputs).length === 0)
    throw invalid(`Failed to get input map for signature: ${name}`, { expected: 'a signature with inputs', got: name })
  const [instances, inputs] = [member(root, 'instances'), member(root, 'inputs')]
  if (instances !== undefined && inputs !== undefined) {
    const reply = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
    throw wrongBody(root, reply, 'both inputs and instances')
  }
  if (instances !== undefined)
    return { signature: name, feeds: fit(rows(root, instances, signature), signature), form: 'row' }
  if (inputs !== undefined) return { signature: name, feeds: columns(inputs, signature), form: 'column' }
  throw invalid("Missing 'inputs' or 'instances' key", { expected: 'a key inputs or instances', got: 'neither' })
}

/** Then every list of numbers may be read as float32 before anybody knows which input it is for. */
function takesFloatsOnly({ signatures }: Manifest): boolean {
  return Object.values(signatures).every((s) => Object.values(s.inputs).every((i) => i.dtype === 'float32'))
}

/** The value of the only input, or an object with all; members that are no inputs are not looked at. */
function columns(given: Json, { inputs }: Signature): Tensors {
  const [[alias, spec] = ['', undefined], ...more] = Object.entries(inputs)
  const feeds: Tensors = Object.create(null)
  if (!isObject(given) || isBase64(given)) {
    if (spec === undefined || more.length > 0)
      throw invalid(
        'inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map',
        { where: 'inputs', expected: `an object with ${Object.keys(inputs).join(', ')}`, got: 'a value' },
      )
    feeds[alias] = toTensor(given, spec)
    return feeds
  }
  for (const [name, wanted] of Object.entries(inputs)) {
    const value = member(given, name)
    if (value !== undefined) feeds[name] = toTensor(value, wanted)
    else if (!wanted.optional)
      throw invalid(
        `Missing named input: ${name} in 'inputs' object.`,
        { where: `input ${name}`, got: given.members.map(([n]) => n.slice(0, 80)).join(', ') },
        'MISSING_INPUT',
      )
  }
  return feeds
}

/**
 * TensorFlow Serving feeds a graph whatever shape was sent, and graphs made of feature columns take `{"length": [5.1]}` for a scalar of each
 * row; so clients send that. Dimensions of 1 behind the declared ones are therefore dropped from rows of numbers. All else is for the session
 * to refuse, as are lists of strings: what parses them does not take them either.
 */
function fit(feeds: Tensors, { inputs }: Signature): Tensors {
  for (const [alias, t] of Object.entries(feeds)) {
    const rank = inputs[alias]?.shape?.length ?? t.shape.length
    if (t.dtype !== 'string' && t.shape.length > rank && t.shape.slice(rank).every((d) => d === 1))
      feeds[alias] = { ...t, shape: t.shape.slice(0, rank) }
  }
  return feeds
}
