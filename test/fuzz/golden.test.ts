import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspectGolden, readGoldens } from '../../packager/verify/golden-file.ts'
import { parseField } from '../../packager/verify/request.ts'
import { isAppError } from '../../src/errors.ts'
import { parseBody } from '../../src/golden/compare.ts'
import { tree } from '../fixtures/package/tree.ts'
import { fc } from '../random.ts'

const ours = (work: () => unknown) => {
  try {
    work()
  } catch (e) {
    assert.ok(isAppError(e), String(e))
  }
}

test('whatever a golden file holds, there is a finding or a request', (t) => {
  const dir = join(tree(t, { 'golden/.keep': '' }), 'golden')
  const any = fc.jsonValue({ maxDepth: 3 })
  const loose = fc.constantFrom('text', 'a/b', 7, null, {})
  const part = fc.record(
    { file: fc.constantFrom('x.json', 5), fileName: loose, contentType: loose },
    { requiredKeys: ['file'] },
  )
  const form = fc.record({
    multipart: fc.dictionary(fc.string(), fc.oneof(part, part, any), { minKeys: 1, maxKeys: 2 }),
  })
  const request = fc.oneof(
    any,
    form,
    fc.record({ json: any, path: loose }),
    fc.record({ json: any, path: fc.webPath() }),
  )
  const golden = fc.record(
    { request, expected: fc.constantFrom({}, { status: 200 }, 7), tolerance: any },
    { requiredKeys: ['request', 'expected'] },
  )
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    golden.map((g) => JSON.stringify(g)),
  )
  fc.assert(
    fc.property(text, (content) => {
      writeFileSync(join(dir, 'x.json'), content)
      const findings = inspectGolden(dir)
      if (findings.length === 0) assert.equal(readGoldens(dir).length, 1)
      else ours(() => readGoldens(dir))
    }),
    { numRuns: 1500 },
  )
})

test('form fields and bodies: only our errors come out', () => {
  fc.assert(fc.property(fc.string(), (s) => ours(() => parseField(s))))
  const token = fc.constantFrom(
    'NaN',
    '-Infinity',
    '1e999',
    '12345678901234567890',
    '"',
    '\\',
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '-',
    'a',
    '"a"',
  )
  fc.assert(fc.property(fc.array(token, { maxLength: 20 }), (parts) => parseBody(parts.join('')) !== undefined))
  // plain JSON comes out as JSON.parse has it, but for integers that it would round
  const safe = fc.jsonValue({ maxDepth: 4 }).filter((v) => !/\d{16}/.test(JSON.stringify(v)))
  fc.assert(fc.property(safe, (v) => assert.deepEqual(parseBody(JSON.stringify(v)), JSON.parse(JSON.stringify(v)))))
})
