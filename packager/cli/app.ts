import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { App } from '../../src/http/app.ts'
import type { ModelPackage } from '../package/types.ts'
import type { Reporter } from './reporter.ts'

/**
 * Runs a package in this process, by the code that runs in Lambda: staged into a temporary folder, which is removed
 * afterwards. Stdout belongs to results, so the log of the app goes to `note`.
 */
export async function withApp<T>(pkg: ModelPackage, io: Reporter, use: (app: App) => Promise<T>): Promise<T> {
  const { silenceTelemetry } = await import('../../src/boot.ts')
  silenceTelemetry()
  const { stagePackage } = await import('../stage.ts')
  const { openStore } = await import('../../src/models.ts')
  const { createApp } = await import('../../src/http/app.ts')
  const dir = mkdtempSync(join(tmpdir(), 'modelayer-stage-'))
  try {
    const { root } = await stagePackage(pkg, dir, io)
    const store = openStore({ roots: [root], defaultModel: pkg.name })
    const log = (line: object) => io.debug(JSON.stringify(line))
    return await use(createApp(store, { log }))
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
