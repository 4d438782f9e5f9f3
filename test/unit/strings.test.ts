import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fromRe2 } from '../../packager/ops/re2.ts'
import { isAppError } from '../../src/errors.ts'
import { fingerprint64, hash64, sipHash } from '../../src/fingerprint.ts'
import { printf } from '../../src/printf.ts'
import { runStrings, STEPS, split } from '../../src/strings.ts'
import { tensor } from '../../src/tensor.ts'
import { fc } from '../random.ts'

const words = (...data: string[]) => tensor('string', [data.length], data)

describe('programs over strings', () => {
  test('read registers and give the ones that are asked for', () => {
    const steps = [
      { op: 'Unsqueeze', in: [0, 1] },
      { op: 'Const', in: [], dtype: 'int64', shape: [1], data: ['0'] },
      { op: 'lower', in: [0] },
      { op: 'split', in: [4], sep: '', max: -1 },
    ]
    const axes = tensor('int64', [1], BigInt64Array.of(0n))
    const [values, row] = runStrings({ steps, outputs: [6, 2] }, [words('The  Fox', ' ran '), axes])
    assert.deepEqual(values!.data, ['the', 'fox', 'ran'])
    assert.deepEqual(row!.shape, [1, 2])
  })

  test('refuse a step of another version', () => {
    const program = { steps: [{ op: 'stem', in: [0] }], outputs: [1] }
    assert.throws(
      () => runStrings(program, [words('a')]),
      (e) => isAppError(e) && e.code === 'LOAD_FAILED',
    )
  })

  test('refuse numbers where strings belong, and shapes that do not fit', () => {
    const numbers = tensor('int64', [1], BigInt64Array.of(3n))
    assert.throws(
      () => runStrings({ steps: [{ op: 'lower', in: [0] }], outputs: [1] }, [numbers]),
      (e) => isAppError(e) && e.code === 'WRONG_DTYPE',
    )
    assert.throws(
      () => runStrings({ steps: [{ op: 'Reshape', in: [0, 1] }], outputs: [2] }, [words('a', 'b'), numbers]),
      (e) => isAppError(e) && e.code === 'WRONG_SHAPE',
    )
  })

  test('answer any text with text or an error of ours', () => {
    const unary = ['lower', 'upper', 'strip', 'unicodeDecode']
    const attrs = { utf8: true }
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), fc.constantFrom(...unary), (texts, op) => {
        const out = runStrings({ steps: [{ op, in: [0], ...attrs }], outputs: [1] }, [words(...texts)])
        assert.equal(out[0]!.data.length, op === 'unicodeDecode' ? texts.length + 1 : texts.length)
      }),
      { numRuns: 200 },
    )
  })

  test('split so that joining gives the text back', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(',', '--', ' '), fc.integer({ min: -1, max: 3 }), (text, sep, max) => {
        assert.equal(split(text, sep, max).join(sep), text)
      }),
    )
    assert.deepEqual(split('  a \t b c ', '', 1), ['a', 'b c '])
  })

  test('decode and encode characters', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' })), (texts) => {
        const steps = [
          { op: 'unicodeDecode', in: [0] },
          { op: 'unicodeEncode', in: [2, 1] },
        ]
        assert.deepEqual(runStrings({ steps, outputs: [4] }, [words(...texts)])[0]!.data, texts)
      }),
    )
  })

  test('have a rule for every step', () => {
    for (const rule of Object.values(STEPS)) assert.equal(typeof rule, 'function')
  })
})

// answers of TensorFlow's StringToHashBucketFast, -Strong and StringToHashBucket for 2^62 + 11 buckets
const HASHES = [
  ['', '1936946117179621433', '316627932347062985', '105434511174508069'],
  ['a', '3694432073954588109', '2466253977694453439', '2996632905371535868'],
  ['fox', '3769723791420678600', '1624888260132260581', '3032316188079051690'],
  ['quick', '967684655664455361', '4041894125352387818', '641450466416413673'],
  ['brown fox', '1454064837223611067', '4457021966614215173', '4572225413755125070'],
  ['sixteen letters!', '2002216074193146093', '496715801281038288', '4041762744592206137'],
  ['seventeen letters', '3111445875047318385', '3136530113171717642', '513808080662440902'],
  ['thirty-two characters, and more..', '2179574007682088612', '299170528952207988', '2183855186437587430'],
  [
    'The quick brown fox jumps over the lazy dog in sixty characters.',
    '18425037287068026',
    '3275255164718110907',
    '2652783916708446781',
  ],
  ['long', '4332873936688136309', '2175577812011997031', '843183864847218263'],
] as const

describe('hashes', () => {
  const buckets = 2n ** 62n + 11n
  const long =
    'The quick brown fox jumps over the lazy dog and then some more text to pass two blocks of sixty-four bytes, which is where loops begin'
  for (const [text, fast, strong, old] of HASHES)
    test(`of ${text.length} bytes`, () => {
      const bytes = Buffer.from(text === 'long' ? long : text)
      assert.equal(String(fingerprint64(bytes) % buckets), fast)
      assert.equal(String(sipHash(bytes, [133n, 137n]) % buckets), strong)
      assert.equal(String(hash64(bytes) % buckets), old)
    })
})

describe('printf', () => {
  const format = { type: 'g', precision: -1, width: -1, fill: '' } as const
  for (const [value, changes, text] of [
    [2.25, { type: 'f', precision: 1 }, '2.2'],
    [2.75, { type: 'f', precision: 1 }, '2.8'],
    [1e300, { type: 'e' }, '1.000000e+300'],
    [9.9999999, { type: 'e', precision: 2 }, '1.00e+01'],
    [5e-324, { type: 'e', precision: 3 }, '4.941e-324'],
    [123456789, {}, '1.23457e+08'],
    [0.0001, {}, '0.0001'],
    [-0, { type: 'f', width: 10, fill: '0' }, '-00.000000'],
    [Number.NaN, { width: 6, fill: '0' }, '   nan'],
    [7n, { type: 'd', width: 4, fill: '-' }, '7   '],
    [7n, { type: 'd', fill: '+' }, '+7'],
    [3e21, { type: 'f', precision: 0 }, '3000000000000000000000'],
  ] as const)
    test(`writes ${text.trim()}`, () => assert.equal(printf(value, { ...format, ...changes }), text))
})

describe('patterns of RE2', () => {
  for (const [re2, pattern] of [
    ['[a-z]+', '[a-z]+'],
    ['\\s.', '[\\t\\n\\f\\r ][^\\n]'],
    ["[\\]'\\-]", "[\\]'\\x2d]"],
    ['(?P<year>\\d{4})', '(?<year>\\d{4})'],
    ['a{', 'a\\{'],
    ['[[:alpha:]_]', '[A-Za-z_]'],
  ] as const)
    test(`${re2} is translated`, () => assert.deepEqual(fromRe2(re2), { pattern, flags: 'u' }))

  for (const pattern of ['(a+)+', '(?:x*y)*', '(?i:a)b', '\\C', '(', ')', '[a', 'a**', '\\', '+', '[[:nothing:]]'])
    test(`${pattern} is refused`, () => assert.equal(typeof fromRe2(pattern), 'string'))

  test('are translated or refused, whatever they are', () => {
    const part = fc.constantFrom(
      'a',
      '[',
      ']',
      '(',
      ')',
      '*',
      '+?',
      '{2}',
      '\\d',
      '\\',
      '^',
      '|',
      '-',
      '(?:',
      'é',
      '[^',
      '.',
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const out = fromRe2(parts.join(''))
        if (typeof out !== 'string') RegExp(out.pattern, out.flags).test('aaa-é')
      }),
      { numRuns: 1000 },
    )
  })
})
