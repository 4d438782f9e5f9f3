import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { importSource } from '../../packager/import.ts'
import { onlyOurErrors } from './support.ts'

const models = join(import.meta.dirname, '../fixtures/models')

export interface Target {
  readonly model: string
  /** the file that is damaged; the others stay whole */
  readonly file: string
  readonly runs: number
  /** what is opened, where it is not the folder */
  readonly open?: string
  /** makes damaged bytes pass a check that would otherwise stop everything, e.g. a checksum */
  readonly mend?: (bytes: Buffer) => Buffer
}

/** A test for each target: its file is damaged, the model is opened and every signature imported. */
export function fuzzModels(targets: readonly Target[]): void {
  const scratch = mkdtempSync(join(tmpdir(), 'fuzz-'))
  after(() => rmSync(scratch, { recursive: true, force: true }))
  for (const [i, t] of targets.entries())
    test(`${t.model}: ${t.file}`, async () => {
      const dir = join(scratch, `${i}`)
      cpSync(join(models, t.model), dir, { recursive: true })
      const file = join(dir, t.file)
      await onlyOurErrors(i, t.runs, readFileSync(file), async (damaged) => {
        writeFileSync(file, t.mend ? t.mend(damaged) : damaged)
        const source = await importSource(t.open ? join(dir, t.open) : dir)
        for (const name of source.signatures) source.import(name)
      })
    })
}
