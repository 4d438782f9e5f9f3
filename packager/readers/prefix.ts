import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

const PART = /\.(index|meta|data-\d{5}-of-\d{5})$/

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile()
const isPrefix = (path: string): boolean => isFile(`${path}.index`) || isFile(`${path}.meta`)

/** The prefix of the checkpoint that a path means: itself, a file of it, or the newest checkpoint of a folder. */
export function prefixOf(path: string): string | undefined {
  const prefix = path.replace(PART, '')
  if (isPrefix(prefix) && (prefix === path || isFile(path))) return prefix
  if (!existsSync(path)) return undefined
  if (basename(path) === 'checkpoint' && isFile(path)) return latest(dirname(path))
  return statSync(path).isDirectory() ? latest(path) : undefined
}

/** The `checkpoint` file of a training folder names the last one; a single one needs no such file. */
function latest(dir: string): string | undefined {
  const state = join(dir, 'checkpoint')
  if (isFile(state)) {
    const named = /^model_checkpoint_path:\s*"([^"]+)"/m.exec(readFileSync(state, 'utf8'))?.[1]
    // written on another machine, the path is absolute there
    const prefix = named && join(dir, basename(named))
    if (prefix && isPrefix(prefix)) return prefix
  }
  const files = readdirSync(dir).filter((f) => f.endsWith('.index'))
  return files.length === 1 ? join(dir, files[0]!.replace(PART, '')) : undefined
}
