import { AppError } from '../../errors.ts'
import type { Manifest, Signature } from '../../manifest.ts'
import type { Tensor } from '../../tensor.ts'
import { decodeBase64, isBase64 } from '../../tensorjson/convert.ts'
import { kindOfJson } from '../../tensorjson/spell.ts'
import { expand, isList, isNumbers, isObject, type Json, member } from '../../tensorjson/value.ts'
import { encodeExample, type FeatureValues } from '../../tfexample/encode.ts'
import { findSignature, invalid, readBody, signatureName, wrongBody } from './body.ts'

/** A request to :classify or :regress. */
export interface ExamplesRequest {
  readonly signature: string
  /** serialized, one character a byte */
  readonly examples: Tensor
}

const METHODS = {
  classify: { method: 'tensorflow/serving/classify', called: 'classification' },
  regress: { method: 'tensorflow/serving/regress', called: 'regression' },
} as const
export type ExamplesAction = keyof typeof METHODS

/** The one input of such signatures. */
export const EXAMPLES_INPUT = 'inputs'

export function readExamples(body: Uint8Array, manifest: Manifest, action: ExamplesAction): ExamplesRequest {
  const root = readBody(body)
  const name = signatureName(root)
  const context = member(root, 'context')
  const shared = context === undefined ? undefined : exampleOf(context)
  const given = member(root, 'examples')
  if (given === undefined)
    throw wrongBody(root, "When method is classify, key 'examples' is expected and was not found", 'no examples')
  const list = isNumbers(given) ? expand(given) : given
  if (!isList(list))
    throw wrongBody(root, "Expecting 'examples' value to be an list/array", 'examples that are no list')
  if (list.length === 0) throw wrongBody(root, "'examples' value is an empty array", 'no example')
  // the context in front: what an example says itself counts more
  const data = list.map((one) => (shared ? Buffer.concat([shared, exampleOf(one)]) : exampleOf(one)).toString('latin1'))
  checkSignature(findSignature(manifest, name, `No signature was found with the name: ${name}`), action)
  return { signature: name, examples: { dtype: 'string', shape: [data.length], data } }
}

function checkSignature({ method, inputs }: Signature, action: ExamplesAction): void {
  const wanted = METHODS[action]
  if (method !== wanted.method)
    throw invalid(`Expected ${wanted.called} signature method_name to be ${wanted.method}. Was: ${method}`, {
      expected: wanted.method,
      got: method,
    })
  if (Object.keys(inputs).length !== 1)
    throw invalid('Expected one input Tensor.', { expected: 'one input', got: `${Object.keys(inputs).length}` })
  const spec = inputs[EXAMPLES_INPUT]
  if (spec?.dtype !== 'string')
    throw invalid(`No ${wanted.called} inputs found in SignatureDef`, {
      expected: `a string input named ${EXAMPLES_INPUT}`,
      got: Object.keys(inputs).join(', '),
    })
}

function exampleOf(v: Json): Buffer {
  if (!isObject(v))
    throw invalid(`Example must be JSON object but got JSON ${kindOfJson(v)}`, {
      where: 'examples',
      expected: 'objects',
      got: kindOfJson(v),
    })
  // a Map: of two members of a name the last counts here
  return encodeExample(new Map(v.members.map(([name, value]) => [name, featureOf(name, value)])))
}

function featureOf(name: string, v: Json): FeatureValues {
  const values: readonly Json[] = isNumbers(v) ? expand(v) : isList(v) ? v : [v]
  const elements = values.map((value) => elementOf(name, value))
  const [first] = elements
  if (first === undefined) return { kind: 'none' }
  for (const { kind } of elements)
    if (kind !== first.kind)
      throw invalid(`Unexpected element type in feature: ${name} expecting type: ${first.kind}`, {
        where: `feature ${name.slice(0, 80)}`,
        expected: first.kind,
        got: kind,
      })
  return { kind: first.kind, values: elements.map((e) => e.value) } as FeatureValues
}

type FeatureElement =
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int64'; readonly value: bigint }

/** The token decides: `1` is an integer, `1.0` a float, true and false are integers too. */
function elementOf(name: string, v: Json): FeatureElement {
  if (typeof v === 'boolean') return { kind: 'int64', value: v ? 1n : 0n }
  if (typeof v === 'string') return { kind: 'bytes', value: Buffer.from(v) }
  if (typeof v === 'number') return { kind: 'float', value: v }
  if (typeof v === 'bigint') {
    if (v >= 2n ** 63n)
      throw invalid(`Feature: ${name} has uint64 element. Only int64 is supported.`, {
        where: `feature ${name.slice(0, 80)}`,
        expected: 'int64',
        got: 'uint64',
      })
    return { kind: 'int64', value: v }
  }
  if (isBase64(v)) return { kind: 'bytes', value: decodeBase64(v) }
  const kind = kindOfJson(v)
  throw new AppError('WRONG_DTYPE', {
    where: `feature ${name.slice(0, 80)}`,
    expected: 'numbers, strings, {"b64": …} or booleans',
    got: kind,
    reply: `Feature: ${name} has element with unexpected JSON type: ${kind}`,
  })
}
