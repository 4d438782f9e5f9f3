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
