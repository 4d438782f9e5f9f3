import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Attempt, Demand, FileSize, ModelDemand } from '../../packager/fit/demand.ts'
import { LIMITS } from '../../packager/fit/limits.ts'
import { memoryFor, type Plan, ROOM_MB, solve } from '../../packager/fit/solve.ts'
import { fetchedBytes, layerBytes, layerCount, modelsAt, start } from '../../packager/fit/state.ts'
import { planTable } from '../../packager/fit/table.ts'
import { WEIGHTS } from '../../packager/onnx/weightsfile.ts'
import { WEIGHTS_KINDS, type WeightsKind } from '../../packager/shrink/kinds.ts'
import { fc } from '../random.ts'

const MB = 1e6
const FIXED = { bytes: 66 * MB, layers: 2 }

const files = (mb: number, sha = `w${mb}`): FileSize[] => [
  { path: WEIGHTS, sha256: sha, bytes: mb * MB },
  { path: 'serving_default.onnx', sha256: `g-${sha}`, bytes: 2000 },
  { path: 'manifest.json', sha256: `m-${sha}`, bytes: 1000 },
]

interface Given {
  readonly mb: number
  readonly name?: string
  readonly version?: string
  readonly sha?: string
  readonly allows?: readonly WeightsKind[]
  readonly golden?: boolean
  readonly attempts?: ModelDemand['attempts']
}

function model({
  mb,
  name = 'a',
  version = '1',
  sha = `${name}${version}`,
  allows = [],
  golden = true,
  attempts = {},
}: Given): ModelDemand {
  return { name, version, files: files(mb, sha), weights: mb * MB, allows, golden, attempts }
}

const demand = (models: readonly Given[], o: Partial<Demand> = {}): Demand => ({
  fixed: FIXED,
  models: models.map(model),
  storage: 'auto',
  efs: false,
  ...o,
})

const passed = (mb: number): Attempt => ({ files: files(mb, `small${mb}`) })
const doneIn = (p: Plan) =>
  p.lines.filter((l) => l.done && l.saves !== undefined).map((l) => `${l.move}: ${l.models.join(' ')}`)
const reasonOf = (p: Plan, move: string) => p.lines.find((l) => l.move === move)?.reason ?? `no line of ${move}`

/** what there is → what is moved, or why it cannot be */
const CASES: readonly [
  name: string,
  demand: Demand,
  done: readonly string[],
  says?: Readonly<Record<string, RegExp>>,
][] = [
  ['a small model stays', demand([{ mb: 50 }]), [], { 'as it is': /^116\.0 MB of 262\.1 MB in 3 of 5 layers$/ }],
  ['150 MB stay', demand([{ mb: 150 }]), []],
  [
    '600 MB are fetched, with a /tmp for them',
    demand([{ mb: 600 }]),
    ['fetched from S3: a@1'],
    {
      'float16 weights': /no author allows it/,
      'fetched from S3': /^403\.9 MB too much$/,
      '701 MB of /tmp': /600\.0 MB are fetched.*512 MB without asking/,
      time: /about 6\.0 s once per environment/,
    },
  ],
  [
    'the same weights in two versions',
    demand([
      { mb: 150, sha: 'x' },
      { mb: 150, sha: 'x', version: '2' },
    ]),
    ['weights that are the same, once: a@1 a@2'],
    { 'weights that are the same, once': /103\.9 MB too much; 150\.0 MB are there more than once/ },
  ],
  [
    'six models of a megabyte: the smallest share a layer',
    demand([1, 2, 3, 4, 5, 6].map((mb) => ({ mb, name: `m${mb}` }))),
    ['one layer for several models: m1 m2 m3 m4'],
    { 'one layer for several models': /8 layers, and a function has at most 5/ },
  ],
  [
    'half the bits are enough',
    demand([{ mb: 300, allows: ['float16', 'int8'], attempts: { float16: passed(150) } }]),
    ['float16 weights: a@1'],
    { 'float16 weights': /103\.9 MB too much; the author allows it and the golden requests pass/ },
  ],
  [
    'half the bits are not enough, a quarter is',
    demand([{ mb: 600, allows: ['float16', 'int8'], attempts: { int8: passed(150) } }]),
    ['int8 weights: a@1'],
    { 'float16 weights': /would leave 103\.9 MB too much all the same/ },
  ],
  [
    'golden requests that differ',
    demand([{ mb: 300, allows: ['float16'], attempts: { float16: { refused: '2 of 3 golden requests differ' } } }]),
    ['fetched from S3: a@1'],
    { 'float16 weights': /a@1: 2 of 3 golden requests differ/ },
  ],
  [
    'no golden requests',
    demand([{ mb: 300, allows: ['float16'], golden: false }]),
    ['fetched from S3: a@1'],
    { 'float16 weights': /a@1: without golden requests/ },
  ],
  [
    'the largest of two is enough',
    demand([
      { mb: 150, name: 'small' },
      { mb: 180, name: 'large' },
    ]),
    ['fetched from S3: large@1'],
  ],
  [
    'more than a disk holds, and a file system is there',
    demand([{ mb: 11_000 }], { efs: true }),
    ['on a shared file system: a@1'],
    { 'fetched from S3': /it needs 10619 MB of \/tmp, and a function has at most 10240/ },
  ],
  ['by choice', demand([{ mb: 50 }], { storage: 's3' }), ['fetched from S3: a@1'], { 'fetched from S3': /by choice/ }],
  [
    'an image by choice',
    demand([{ mb: 50 }], { storage: 'image' }),
    ['a container image: a@1'],
    { 'a container image': /by choice/ },
  ],
  [
    'a function that is too large itself',
    demand([{ mb: 5 }], { fixed: { bytes: 300 * MB, layers: 2 } }),
    ['fetched from S3: a@1', 'a container image: a@1'],
    { 'on a shared file system': /no access point/, 'a container image': /nothing else is left/ },
  ],
]

for (const [name, given, done, says = {}] of CASES)
  test(name, () => {
    const plan = solve(given, LIMITS)
    assert.deepEqual(doneIn(plan), done, planTable(plan))
    for (const [move, text] of Object.entries(says)) assert.match(reasonOf(plan, move), text, planTable(plan))
    if (!/11_000|disk/.test(name)) assert.ok(plan.fits, planTable(plan))
    assert.deepEqual(plan.wants, [])
  })

test('what has to be tried first is asked for, one at a time', () => {
  const both = demand([
    { mb: 200, name: 'a', allows: ['float16'] },
    { mb: 190, name: 'b', allows: ['float16'] },
  ])
  const first = solve(both, LIMITS)
  assert.deepEqual(
    first.wants.map((w) => [w.model.name, w.kind]),
    [['a', 'float16']],
  )
  const tried = {
    ...both,
    models: both.models.map((m) => (m.name === 'a' ? { ...m, attempts: { float16: passed(100) } } : m)),
  }
  assert.deepEqual(
    solve(tried, LIMITS).wants.map((w) => w.model.name),
    ['b'],
  )
})

test('memory: the default is raised, and more than there is fits nowhere', () => {
  const plan = solve(demand([{ mb: 3000 }], { memory: 1769 }), LIMITS)
  assert.equal(plan.memory, memoryFor(plan.state))
  assert.match(reasonOf(plan, `${plan.memory + ROOM_MB} MB of memory`), /3\.0 GB of weights do not fit into 1769 MB/)
  const none = solve(demand([{ mb: 12_000 }], { efs: true, memory: 1769 }), LIMITS)
  assert.equal(none.fits, false)
  assert.match(reasonOf(none, 'memory'), /at most 10240/)
})

test('models that insist on layers and do not fit: every move that was allowed has its reason', () => {
  const plan = solve(demand([{ mb: 600 }], { storage: 'layer' }), LIMITS)
  assert.equal(plan.fits, false)
  assert.deepEqual(doneIn(plan), [])
  assert.equal(plan.lines.length, 4)
})

test('whatever the sizes: a plan that fits does, nothing moves without need, and precision is lost only where it is enough', () => {
  const given = fc.record({
    mb: fc.integer({ min: 1, max: 3000 }),
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    version: fc.constantFrom('1', '2', '3'),
    sha: fc.constantFrom('x', 'y', 'z', 'u', 'v', 'w'),
    allows: fc.subarray([...WEIGHTS_KINDS]),
    golden: fc.boolean(),
    passes: fc.boolean(),
  })
  const some = fc.uniqueArray(given, { minLength: 1, maxLength: 8, selector: (m) => `${m.name}${m.version}` })
  fc.assert(
    fc.property(
      some,
      fc.constantFrom('auto', 'layer', 's3', 'efs', 'image' as const),
      fc.boolean(),
      (models, storage, efs) => {
        const attempt = (mb: number, ok: boolean): Attempt => (ok ? passed(mb) : { refused: 'they differ' })
        // one hash is one content, so it has one size
        const sized = models.map((m) => ({ ...m, mb: 100 * 'xyzuvw'.indexOf(m.sha) + 37 }))
        const d = demand(
          sized.map((m) => ({
            ...m,
            attempts: { float16: attempt(m.mb / 2, m.passes), int8: attempt(m.mb / 4, m.passes) },
          })),
          { storage, efs },
        )
        const plan = solve(d, LIMITS)
        const before = start(d, LIMITS)
        const fitted = layerBytes(before) <= LIMITS.unzipped && layerCount(before) <= LIMITS.layers
        if (fitted && (storage === 'auto' || storage === 'layer')) assert.deepEqual(doneIn(plan), [])
        if (plan.fits && modelsAt(plan.state, 'image').length === 0) {
          assert.ok(layerBytes(plan.state) <= LIMITS.unzipped)
          assert.ok(layerCount(plan.state) <= LIMITS.layers)
          assert.ok(plan.tmp <= LIMITS.tmp.most && plan.tmp * 2 ** 20 >= fetchedBytes(plan.state, 's3'))
        }
        if (plan.state.weights.size > 0)
          assert.ok(plan.fits && modelsAt(plan.state, 'layer').length === d.models.length)
        for (const l of plan.lines) assert.ok(l.reason.length > 0)
        assert.ok(plan.lines.length > 0)
      },
    ),
    { numRuns: 500 },
  )
})
