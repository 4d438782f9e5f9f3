import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { AppError } from '../../src/errors.ts'
import type { NpmSpec } from '../package/dependencies.ts'
import { defaultCache } from '../root.ts'

const run = promisify(execFile)

/**
 * The folders where esbuild also looks for the npm packages of config.json: none where the package has them itself, else
 * one that npm fills once for each list. Scripts of packages are never run.
 */
export async function installNpm(
  specs: readonly NpmSpec[],
  modelDir: string,
  cache = defaultCache(),
): Promise<string[]> {
  if (specs.every((s) => isInstalled(s, modelDir))) return []
  const key = createHash('sha256')
    .update(specs.map((s) => s.spec).join('\n'))
    .digest('hex')
    .slice(0, 16)
  const dir = join(cache, 'npm', key)
  const modules = join(dir, 'node_modules')
  if (existsSync(modules)) return [modules]
  mkdirSync(dirname(dir), { recursive: true })
  // filled beside its place and moved there, so that a run that was cut off leaves nothing half done
  const fresh = mkdtempSync(`${dir}-`)
  try {
    writeFileSync(join(fresh, 'package.json'), '{ "private": true }\n')
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--omit=dev', '--']
    await run(process.platform === 'win32' ? 'npm.cmd' : 'npm', [...args, ...specs.map((s) => s.spec)], { cwd: fresh })
    if (!existsSync(modules)) renameSync(fresh, dir)
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr ?? String(cause)
    const reason = /npm (?:error|ERR!) (?!code|A complete|errno)(.+)/.exec(said)?.[1] ?? 'npm failed'
    throw new AppError('BAD_HOOKS', { where: 'the npm dependencies of config.json', got: reason, cause })
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  return [modules]
}

function isInstalled({ name, version, restraint }: NpmSpec, modelDir: string): boolean {
  for (let dir = modelDir; ; dir = dirname(dir)) {
    const file = join(dir, 'node_modules', name, 'package.json')
    if (existsSync(file)) {
      const found = (JSON.parse(readFileSync(file, 'utf8')) as { version?: string }).version ?? ''
      return satisfies(found, version, restraint)
    }
    if (dir === dirname(dir)) return false
  }
}

function satisfies(found: string, wanted: string | undefined, restraint: NpmSpec['restraint']): boolean {
  if (!wanted || !restraint) return true
  const order = compare(found, wanted)
  return restraint === 'EXACT' ? found === wanted : restraint === 'ATLEAST' ? order >= 0 : order <= 0
}

/** release numbers only: a pre-release counts as its release */
function compare(a: string, b: string): number {
  const [x, y] = [a, b].map((v) => v.replace(/-.*/, '').split('.').map(Number))
  for (let i = 0; i < 3; i++) if ((x![i] ?? 0) !== (y![i] ?? 0)) return (x![i] ?? 0) - (y![i] ?? 0)
  return 0
}
