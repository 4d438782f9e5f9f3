import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { unzipSync, zipSync } from 'fflate'
import { importSource } from '../../packager/import.ts'
import { onlyOurErrors } from './support.ts'

const fixtures = join(import.meta.dirname, '../fixtures')
const scratch = mkdtempSync(join(tmpdir(), 'fuzz-keras-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

async function attempt(name: string, bytes: Uint8Array): Promise<void> {
  const file = join(scratch, name)
  writeFileSync(file, bytes)
  const source = await importSource(file)
  source.import('serving_default')
}

test('archives', async () => {
  const bytes = readFileSync(join(fixtures, 'keras/nested.keras'))
  await onlyOurErrors(1, 250, bytes, (damaged) => attempt('model.keras', damaged))
})

test('HDF5 files', async () => {
  for (const [seed, name] of ['nested', 'core'].entries())
    await onlyOurErrors(seed, 80, readFileSync(join(fixtures, `keras/${name}.h5`)), (damaged) =>
      attempt('model.h5', damaged),
    )
})

test('HDF5 weights inside an archive', async () => {
  const files = unzipSync(readFileSync(join(fixtures, 'models/keras_functional/model.keras')))
  await onlyOurErrors(3, 120, files['model.weights.h5']!, (damaged) =>
    attempt('model.keras', zipSync({ ...files, 'model.weights.h5': damaged }, { level: 0 })),
  )
})

/** Damage that leaves JSON whole: a number, word or list somewhere becomes another one. */
const VALUES = ['null', '-1', '0', '1e99', '"x"', '[]', '{}', '[[1]]', 'true', '"__keras_tensor__"']
function reworded(next: () => number, text: string): string {
  const places = [...text.matchAll(/(?<=[:[,] ?)(-?\d+(\.\d+)?|null|true|false|"[^"]*"|\[\]|\{\})(?=[,\]}])/g)]
  const at = places[Math.floor(next() * places.length)]!
  const value = VALUES[Math.floor(next() * VALUES.length)]!
  return text.slice(0, at.index) + value + text.slice(at.index + at[0].length)
}

test('configurations', async () => {
  for (const [seed, name] of [
    'nested',
    'recurrent',
    'convolution',
    'attention',
    'features',
    'images',
    'operations',
  ].entries()) {
    const files = unzipSync(readFileSync(join(fixtures, `keras/${name}.keras`)))
    const config = Buffer.from(files['config.json']!).toString()
    let state = seed + 1
    const next = (): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      return state / 2 ** 32
    }
    await onlyOurErrors(seed, 12, Buffer.from(config), () =>
      attempt(
        'model.keras',
        zipSync({ ...files, 'config.json': Buffer.from(reworded(next, reworded(next, config))) }, { level: 0 }),
      ),
    )
  }
})
