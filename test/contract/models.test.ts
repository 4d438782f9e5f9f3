import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { importSource } from '../../packager/import.ts'
import { type Case, type JsonTensor, jsonExpected, jsonTensor, runCase } from '../../scripts/cases.ts'
import { isAppError } from '../../src/errors.ts'

// Every format, by small models that its own framework wrote, with the framework's answers; and the same models broken in one place each.
const fixtures = join(import.meta.dirname, '../fixtures')
const scratch = mkdtempSync(join(tmpdir(), 'models-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

interface Recorded {
  name: string
  artifact: string
  format: string
  signature?: string
  function?: string
  tags?: string[]
  weights?: string
  inputs: Record<string, JsonTensor>
  outputs: Record<string, JsonTensor>
  tolerance: { rtol: number; atol: number }
}

/** Formats whose graphs have no signature: their outputs are asked for by tensor name. */
const BY_TENSOR = new Set(['tf1_checkpoint', 'frozen_graph', 'frozen_graph_text'])

/** onnxruntime computes float16 in float32 on a CPU and drops the rounding between two operators. */
const LOOSER: Readonly<Record<string, { rtol: number; atol: number }>> = { tf2_kinds: { rtol: 1e-3, atol: 1e-5 } }

const all = <T, U>(record: Record<string, T>, convert: (t: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([k, t]) => [k, convert(t)]))

function caseOf(r: Recorded): Case {
  return {
    name: r.name,
    model: join(fixtures, 'models', r.artifact),
    signature: r.signature ?? r.function,
    ...(r.tags && { tags: r.tags }),
    ...(r.weights && { weights: join(fixtures, 'models', r.weights) }),
    ...(BY_TENSOR.has(r.format) && { outputNames: Object.keys(r.outputs) }),
    inputs: () => all(r.inputs, (t) => jsonTensor(t)),
    expected: () => all(r.outputs, (t) => jsonExpected(t)),
    mayRefuse: false,
    ...(LOOSER[r.artifact] ?? r.tolerance),
    check: { value: true, shape: true, dtype: true },
  }
}

const groups: Record<string, Recorded[]> = JSON.parse(readFileSync(join(fixtures, 'models/cases.json'), 'utf8'))
for (const [group, cases] of Object.entries(groups))
  describe(`models: ${group}`, () => {
    for (const r of cases)
      test(`${r.artifact}: ${r.name}`, async () => {
        assert.equal(await runCase(caseOf(r), scratch), undefined)
      })
  })

interface Broken {
  path: string
  what: string
  expectedCode: string
  mustMention: string[]
}

describe('broken models', () => {
  const corpus: Broken[] = JSON.parse(readFileSync(join(fixtures, 'corpus/corpus.json'), 'utf8'))
  for (const b of corpus)
    test(`${b.path}: ${b.what}`, async () => {
      const attempt = async () => {
        const source = await importSource(join(fixtures, 'corpus', b.path))
        for (const s of source.signatures) source.import(s)
      }
      await assert.rejects(attempt, (e) => {
        assert.ok(isAppError(e), String(e))
        assert.equal(e.code, b.expectedCode, e.message)
        for (const word of b.mustMention) assert.ok(e.message.includes(word), `'${word}' in: ${e.message}`)
        return true
      })
    })
})
