import { existsSync } from 'node:fs'
import { copyFile, cp, mkdir, mkdtemp, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { FETCH_FILE, type FetchList } from '../../src/manifest.ts'
import type { Place } from '../../src/models.ts'

/** What a function fetches, from the folders of builds on this machine. @param into where models are put together */
export const placeFrom =
  (stores: readonly string[], into: string): Place =>
  async (dir) => {
    if (!existsSync(join(dir, FETCH_FILE))) return dir
    const { files } = JSON.parse(await readFile(join(dir, FETCH_FILE), 'utf8')) as FetchList
    const home = await mkdtemp(join(into, 'model-'))
    await cp(dir, home, { recursive: true })
    for (const [path, { sha256 }] of Object.entries(files)) {
      const from = stores.map((s) => join(s, sha256)).find((f) => existsSync(f))
      if (!from)
        throw new AppError('BAD_ARTIFACT', {
          where: stores.join(', '),
          expected: `${sha256} for ${path}`,
          got: 'no such file',
        })
      await mkdir(dirname(join(home, path)), { recursive: true })
      await copyFile(from, join(home, path))
    }
    return home
  }
