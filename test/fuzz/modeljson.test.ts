import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { unzipSync, zipSync } from 'fflate'
import { importSource } from '../../packager/import.ts'
import { describeModel } from '../../packager/inspect/index.ts'
import { isAppError } from '../../src/errors.ts'
import { random, spoil } from './mutate.ts'
import { onlyOurErrors } from './support.ts'

const fixtures = join(import.meta.dirname, '../fixtures')
const scratch = mkdtempSync(join(tmpdir(), 'fuzz-json-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

/** What takes the place of some member: JSON stays whole, and says something else. */
const VALUES: readonly unknown[] = [
  null,
  -1,
  0,
  1e99,
  'x',
  '9',
  [],
  {},
  [[1]],
  [{}],
  true,
  '__keras_tensor__',
  { toString: 1 },
]

async function attempt(path: string): Promise<void> {
  await describeModel(path, { all: true, ops: false }).catch((e: unknown) => {
    if (!isAppError(e)) throw e
  })
  const source = await importSource(path)
  for (const name of source.signatures) source.import(name)
}

/** A test that reads a model whose JSON has one to three other members, as often as `runs` says. */
function fuzzJson(name: string, runs: number, json: Buffer, write: (json: Buffer) => string): void {
  test(name, async () => {
    const text = json.toString()
    const next = random(text.length + Number(process.env.FUZZ_SEED ?? 0))
    await onlyOurErrors(0, runs, json, () => {
      let value: unknown = JSON.parse(text)
      for (let i = 1 + Math.floor(next() * 3); i > 0; i--)
        value = spoil(value, Math.floor(next() * 2 ** 31), structuredClone(VALUES[Math.floor(next() * VALUES.length)]))
      return attempt(write(Buffer.from(JSON.stringify(value))))
    })
  })
}

for (const name of ['nested', 'recurrent', 'convolution', 'attention', 'features', 'images', 'operations']) {
  const files = unzipSync(readFileSync(join(fixtures, `keras/${name}.keras`)))
  const file = join(scratch, `${name}.keras`)
  fuzzJson(`${name}.keras`, 15, Buffer.from(files['config.json']!), (json) => {
    writeFileSync(file, zipSync({ ...files, 'config.json': json }, { level: 0 }))
    return file
  })
}

for (const name of ['tfjs_graph', 'tfjs_tables', 'tfjs_layers']) {
  const dir = join(scratch, name)
  cpSync(join(fixtures, 'models', name), dir, { recursive: true })
  const file = join(dir, 'model.json')
  fuzzJson(name, 40, readFileSync(file), (json) => {
    writeFileSync(file, json)
    return dir
  })
}
