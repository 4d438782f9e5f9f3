import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../packager/package/config.ts'
import { FINDINGS } from '../../packager/package/findings.ts'
import { plain, readJson } from '../../packager/package/json.ts'
import { fc } from '../random.ts'

const SEED = `{"model_algorithm":"a","model_type":"TensorFlow","metrics":{"f1":0.5},"apis":[{"url":"/","request":
{"Content-type":"multipart/form-data","data":{"type":"object","properties":{"images":{"type":"file"}},"required":["images"]}}}],
"dependencies":[{"installer":"pip","packages":[{"package_name":"numpy","package_version":"1","restraint":"EXACT"}]}]}`

/** A real configuration with pieces cut out, doubled or replaced. */
const mutated = fc
  .array(
    fc.tuple(
      fc.nat(SEED.length),
      fc.nat(12),
      fc.constantFrom('', '{', '}', '[', ']', ',', '"', ':', '\\', '1e999', '\u0000', '"__proto__":', 'null'),
    ),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map((edits) => edits.reduce((text, [at, cut, put]) => text.slice(0, at) + put + text.slice(at + cut), SEED))

const check = (bytes: Uint8Array) => {
  const { config, findings } = readConfig(bytes)
  for (const f of findings) assert.ok(f.code in FINDINGS && f.message.length > 0)
  assert.equal(
    config === undefined,
    findings.some((f) => f.severity === 'error'),
  )
}

test('whatever the bytes are, validation answers with findings', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), check), { numRuns: 500 })
  fc.assert(
    fc.property(
      mutated.map((t) => Buffer.from(t)),
      check,
    ),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 6 }).map((t) => Buffer.from(t)),
      check,
    ),
    { numRuns: 500 },
  )
})

test('any values at the known keys: findings, never an exception', () => {
  const value = fc.jsonValue({ maxDepth: 3 })
  const config = fc.record({
    model_algorithm: value,
    model_type: value,
    metrics: value,
    apis: fc.array(fc.oneof(value, fc.record({ request: fc.record({ data: value }) }))),
    dependencies: value,
    health: value,
  })
  fc.assert(
    fc.property(
      config.map((c) => Buffer.from(JSON.stringify(c))),
      check,
    ),
    { numRuns: 500 },
  )
})

test('exactly the texts that JSON.parse reads are read, with the same value', () => {
  const texts = fc.oneof(mutated, fc.json(), fc.string({ maxLength: 40 }))
  fc.assert(
    fc.property(texts, (text) => {
      const { tree, findings } = readJson(Buffer.from(text), 'config.json')
      let expected: unknown
      let valid = true
      try {
        expected = JSON.parse(text.replace(/^\ufeff/, ''))
      } catch {
        valid = false
      }
      assert.equal(tree !== undefined, valid)
      // of a key that occurs twice we keep the first and say so; JSON.parse keeps the last
      if (tree && !findings.some((f) => f.code === 'CONFIG_DUPLICATE')) assert.deepEqual(plain(tree), expected)
    }),
    { numRuns: 3000 },
  )
})
