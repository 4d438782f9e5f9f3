// A Python with the stand-ins for AWS of test/deploy/requirements.txt, made once in the cache.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const REQUIREMENTS = fileURLToPath(new URL('../test/deploy/requirements.txt', import.meta.url))
const MINUTES = 5

/** Its path, or why there is none. STANDIN_PYTHON names one that is there already. */
export function standinPython({ env = process.env } = {}) {
  if (env.STANDIN_PYTHON) return { python: env.STANDIN_PYTHON }
  const hash = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 12)
  const venv = join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'modelayer', `standin-${hash}`)
  const python = join(venv, 'bin', 'python')
  // written last: a venv without it was interrupted
  const done = join(venv, 'complete')
  if (existsSync(done)) return { python }
  rmSync(venv, { recursive: true, force: true })
  mkdirSync(dirname(venv), { recursive: true })
  const made =
    attempt('python3', ['-m', 'venv', venv], 'Python 3 with venv is missing') ??
    attempt(
      python,
      ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', REQUIREMENTS],
      'pip cannot install them',
    )
  if (made) return { reason: made }
  writeFileSync(done, '')
  return { python }
}

/** undefined, or what is missing and the last line of what was said. */
function attempt(command, args, missing) {
  const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: MINUTES * 60_000 })
  if (status === 0) return undefined
  const said = (error?.message ?? stderr ?? '').trim().split('\n').at(-1)
  return `${missing}${said ? `: ${said}` : ''}.`
}
