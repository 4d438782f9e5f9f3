import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ZipEntry } from './zip.ts'

/** Every file below base/folder as zip entries named from base, with forward slashes. None when the folder is not there. */
export async function filesBelow(base: string, folder: string): Promise<(ZipEntry & { bytes: number })[]> {
  const found = await readdir(join(base, folder), { recursive: true, withFileTypes: true }).catch(
    (e: NodeJS.ErrnoException) => {
      if (e.code === 'ENOENT') return []
      throw e
    },
  )
  return Promise.all(
    found
      .filter((e) => e.isFile())
      .map(async (e) => {
        const path = join(e.parentPath, e.name)
        const name = path.slice(join(base, '/').length).replaceAll('\\', '/')
        return { name, path, bytes: (await stat(path)).size }
      }),
  )
}
