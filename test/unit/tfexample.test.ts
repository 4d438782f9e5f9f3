import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { isAppError } from '../../src/errors.ts'
import { bytesOf, type Tensor } from '../../src/tensor.ts'
import { parseExamples } from '../../src/tfexample/parse.ts'
import { parseSequences } from '../../src/tfexample/sequence.ts'
import type { ExampleSpec, FeatureSpec } from '../../src/tfexample/spec.ts'

interface Answer {
  dtype: string
  shape: number[]
  b64?: string[]
  bits?: number[]
  data?: string[]
}
interface Recorded extends ExampleSpec {
  name: string
  serialized: string[]
  outputs?: Answer[]
  error?: string
}

const file = join(import.meta.dirname, '../fixtures/tfexample/cases.json')
const { cases }: { cases: Recorded[] } = JSON.parse(readFileSync(file, 'utf8'))
const latin1 = (text: string) => Buffer.from(text, 'utf8').toString('latin1')

/** Specs hold names and strings as bytes; the file has them as text. Without values as default a dense feature is required. */
function specOf(c: Recorded): ExampleSpec {
  const features = c.features.map((f): FeatureSpec => {
    const name = latin1(f.name)
    if (f.kind !== 'dense') return { ...f, name }
    const { default: values = [], ...rest } = f
    const bytes = values.map((v) => (typeof v === 'string' ? latin1(v) : v))
    return { ...rest, name, ...(bytes.length > 0 && { default: bytes }) }
  })
  return { single: c.single, features }
}

function spelled(t: Tensor): Answer {
  const shape = [...t.shape]
  if (Array.isArray(t.data))
    return { dtype: t.dtype, shape, b64: t.data.map((s) => Buffer.from(s, 'latin1').toString('base64')) }
  if (t.dtype !== 'float32') return { dtype: t.dtype, shape, data: Array.from(t.data as ArrayLike<unknown>, String) }
  const bytes = Uint8Array.from(bytesOf(t))
  return { dtype: t.dtype, shape, bits: Array.from(new Uint32Array(bytes.buffer)) }
}

describe('tf.Example', () => {
  for (const c of cases)
    test(c.name, () => {
      const run = () =>
        parseExamples(
          specOf(c),
          c.serialized.map((s) => Buffer.from(s, 'base64')),
        )
      if (c.outputs) assert.deepEqual(run().map(spelled), c.outputs)
      else assert.throws(run, (e) => isAppError(e) && e.code === 'BAD_EXAMPLE')
    })

  const spec: ExampleSpec = {
    single: false,
    features: [{ kind: 'dense', name: 'PetalWidth', dtype: 'float32', shape: [1] }],
  }
  const message = (tag: number, ...parts: Buffer[]) => {
    const body = Buffer.concat(parts)
    return Buffer.concat([Buffer.from([tag]), varint(body.length), body])
  }
  const entry = (name: string, list: Buffer) =>
    message(10, message(10, message(10, Buffer.from(name)), message(18, list)))
  const int64s = (...values: number[]) => message(26, message(10, Buffer.from(values)))
  const zeros = (n: number) => message(18, message(10, Buffer.alloc(4 * n)))
  const refusals: [string, Buffer, RegExp][] = [
    [
      'missing',
      Buffer.from([10, 0]),
      /required feature \(float\) for feature PetalWidth of tf\.Example 1 but received none/,
    ],
    [
      'another kind',
      entry('PetalWidth', int64s(1)),
      /expected float for feature PetalWidth of tf\.Example 1 but received int64/,
    ],
    ['too many', entry('PetalWidth', zeros(2)), /expected 1 values for shape \[1\] .*PetalWidth.* but received 2/],
    [
      'no Example',
      Buffer.from('not a tf.Example'),
      /expected a serialized tf\.Example for tf\.Example 1 but received 16 bytes/,
    ],
  ]
  const good = entry('PetalWidth', zeros(1))
  for (const [what, bytes, text] of refusals)
    test(`the message says what is wrong: ${what}`, () => {
      assert.equal(parseExamples(spec, [good])[0]!.data[0], 0)
      assert.throws(() => parseExamples(spec, [good, bytes]), text)
    })

  test('a padded batch that would take all memory is refused', () => {
    const features = [{ kind: 'dense', name: 'x', dtype: 'int64', shape: [null] }] as const
    const long = entry('x', int64s(...new Array<number>(20_000).fill(0)))
    const many = Array.from({ length: 20_000 }, (_, i) => (i === 0 ? long : Buffer.alloc(0)))
    assert.throws(() => parseExamples({ single: false, features }, many), /padded batch/)
  })
})

describe('tf.SequenceExample', () => {
  const message = (tag: number, ...parts: Uint8Array[]) => {
    const body = Buffer.concat(parts)
    return Buffer.concat([Buffer.from([tag]), varint(body.length), body])
  }
  const floats = (n: number) => message(10, message(18, message(10, Buffer.alloc(4 * n))))
  const lists = (name: string, ...steps: Buffer[]) =>
    message(18, message(10, message(10, Buffer.from(name)), message(18, ...steps)))
  const dense = { kind: 'dense', name: 'd', dtype: 'float32', shape: [2], mayMiss: false } as const
  const run = (bytes: Uint8Array) => parseSequences({ single: false, context: [], lists: [dense] }, [bytes])

  test('of two lists with one name the later counts', () => {
    const [values, lengths] = run(Buffer.concat([lists('d', floats(2)), lists('d', floats(2), floats(2))]))
    assert.deepEqual(values!.shape, [1, 2, 2])
    assert.deepEqual(lengths!.data, BigInt64Array.of(2n))
  })
  const refusals: [string, Buffer, RegExp][] = [
    ['a list that is missing', Buffer.alloc(0), /required list \(float\) for feature list d of tf\.SequenceExample 0/],
    ['a step of another size', lists('d', floats(2), floats(3)), /2 values for shape \[2\] in each step .* received 3/],
    ['a step without values', lists('d', message(10)), /received 0/],
    [
      'a step of another kind',
      lists('d', message(10, message(26, message(10, Buffer.of(1, 2))))),
      /expected float .* received int64/,
    ],
    ['no message', Buffer.from('nope'), /4 bytes that are none/],
  ]
  for (const [what, bytes, text] of refusals) test(`refused: ${what}`, () => assert.throws(() => run(bytes), text))
})

function varint(n: number): Buffer {
  const out: number[] = []
  for (let v = n; ; v >>>= 7) {
    if (v < 128) return Buffer.from([...out, v])
    out.push((v & 127) | 128)
  }
}
