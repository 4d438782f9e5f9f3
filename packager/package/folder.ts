import { readdirSync, realpathSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { AppError } from '../../src/errors.ts'

export interface FolderFile {
  /** relative, with `/` on every system */
  readonly path: string
  readonly file: string
}

/** more files than this are no model package but somebody's disk */
const MAX_FILES = 20_000
const SKIPPED = new Set(['node_modules', '__pycache__', '__MACOSX'])

/** All files below a folder in a fixed order, links followed inside the folder only; hidden ones are left out. */
export function listFolder(dir: string): { files: FolderFile[]; outside: string[] } {
  const root = realpathSync(dir)
  const files: FolderFile[] = []
  const outside: string[] = []
  const walk = (at: string, seen: readonly string[]) => {
    for (const name of readdirSync(at).sort()) {
      if (name.startsWith('.') || SKIPPED.has(name)) continue
      const file = join(at, name)
      const path = relative(dir, file).split(sep).join('/')
      const real = resolveLink(file)
      if (real === undefined || (real !== root && !real.startsWith(root + sep))) {
        outside.push(path)
        continue
      }
      const stat = statSync(real)
      // a link to a folder above would go round for ever
      if (stat.isDirectory()) {
        if (!seen.includes(real)) walk(file, [...seen, real])
      } else if (stat.isFile() && files.push({ path, file }) > MAX_FILES) {
        throw new AppError('BAD_PACKAGE', { where: dir, expected: `at most ${MAX_FILES} files`, got: 'more' })
      }
    }
  }
  walk(dir, [root])
  return { files, outside }
}

/** undefined for a link that leads nowhere */
function resolveLink(file: string): string | undefined {
  try {
    return realpathSync(file)
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ELOOP') return undefined
    throw e
  }
}

export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

export function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
