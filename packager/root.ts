import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AppError } from '../src/errors.ts'

let found: string | undefined

/** The folder of modelayer's own package.json: this file runs from packager/ and, bundled, from build/. */
export function projectRoot(): string {
  if (found) return found
  for (let dir = dirname(fileURLToPath(import.meta.url)); ; dir = dirname(dir)) {
    if (packageName(dir) === 'modelayer') {
      found = dir
      return dir
    }
    if (dir === dirname(dir)) throw new AppError('INTERNAL', { where: 'package.json of modelayer', got: 'nothing' })
  }
}

function packageName(dir: string): unknown {
  try {
    return (JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as { name?: unknown }).name
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw e
  }
}

/** Everything that can be made again: fetched packages, finished zips, unpacked layers. */
export const defaultCache = (): string => join(projectRoot(), 'build', 'cache')
