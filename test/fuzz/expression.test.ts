import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evaluate } from '../../packager/expression/evaluate.ts'
import { serializedExamples } from '../../packager/expression/example.ts'
import { readInputs } from '../../packager/expression/inputs.ts'
import { formatArray } from '../../packager/expression/numpyformat.ts'
import { openNpz } from '../../packager/formats/npz.ts'
import { isAppError } from '../../src/errors.ts'
import { readNpy } from '../../src/npy.ts'
import { fixture } from '../fixtures/show/read.ts'
import { fc } from '../random.ts'

function onlyOurs(work: () => unknown): void {
  try {
    work()
  } catch (e) {
    assert.ok(isAppError(e), String((e as Error).stack))
  }
}

const PIECES = [
  'np.',
  'ones',
  'zeros',
  'arange',
  'reshape',
  'random.',
  'rand',
  'randint',
  'concatenate',
  'tile',
  'repeat',
  'linspace',
  'full',
  'T',
  '.T',
  '.shape',
  '.astype(',
  'np.float32',
  '(',
  ')',
  '[',
  ']',
  '{',
  '}',
  ',',
  ':',
  '...',
  '.',
  '=',
  '+',
  '-',
  '*',
  '/',
  '//',
  '%',
  '**',
  ' ',
  '1',
  '0',
  '-1',
  '2.5',
  '1e308',
  '3',
  '"a"',
  "b'\\x00'",
  'True',
  'None',
  'dtype=',
  'axis=',
  'size=',
  "'float16'",
  'np.nan',
  '\\',
  '"',
  "'",
  '\n',
  '_',
  '9'.repeat(30),
]
const EXPRESSIONS = fixture<{ text: string }>('expressions.json').map((c) => c.text)

const text = fc.oneof(
  fc.string({ maxLength: 60, unit: 'binary' }),
  fc.array(fc.constantFrom(...PIECES), { maxLength: 25 }).map((p) => p.join('')),
  // one good expression with a piece put in, cut out or doubled
  fc
    .tuple(fc.constantFrom(...EXPRESSIONS), fc.nat(80), fc.nat(10), fc.constantFrom('', ...PIECES))
    .map(([e, at, n, p]) => e.slice(0, at) + p + e.slice(at + n)),
)

test('expressions: only our errors come out', () => {
  fc.assert(
    fc.property(text, fc.boolean(), (t, examples) => {
      const warn = () => undefined
      onlyOurs(() => readInputs(examples ? { examples: `x=${t}` } : { exprs: `x=${t}` }, warn))
      onlyOurs(() => readInputs({ inputs: t }, warn))
    }),
    { numRuns: 6000 },
  )
})

test('examples of any literals: only our errors come out', () => {
  const leaf = fc.constantFrom('1', '2.5', "'a'", "b'a'", 'True', 'None', '[]', '{}', '9'.repeat(40), '()')
  const feature = fc.array(leaf, { maxLength: 3 }).map((v) => `[${v.join(',')}]`)
  const literal = fc.array(fc.tuple(leaf, fc.oneof(feature, leaf)), { maxLength: 3 })
  fc.assert(
    fc.property(literal, (pairs) => {
      const dict = `[{${pairs.map(([k, v]) => `${k}:${v}`).join(',')}}]`
      onlyOurs(() => serializedExamples(evaluate(dict, { option: 'o', input: 'i' }, true), 'i'))
    }),
    { numRuns: 1500 },
  )
})

test('arrays in files: only our errors come out, and what is read can be printed', () => {
  const files = fixture<{ b64: string }>('npy.json').map((f) => Buffer.from(f.b64, 'base64'))
  const damaged = fc
    .tuple(
      fc.constantFrom(...files),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }),
      fc.option(fc.nat(400)),
    )
    .map(([file, changes, cut]) => {
      const bytes = Buffer.from(file)
      for (const [at, v] of changes) if (at < bytes.length) bytes[at] = v
      return cut === null ? bytes : bytes.subarray(0, cut)
    })
  fc.assert(
    fc.property(damaged, (bytes) => {
      onlyOurs(() => formatArray(readNpy(bytes)))
      onlyOurs(() => {
        const npz = openNpz(bytes, 'x')
        for (const name of npz.names) readNpy(npz.read(name) ?? bytes)
      })
    }),
    { numRuns: 2000 },
  )
})
