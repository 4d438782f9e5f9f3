// Runs every test/**/*.test.ts with node's own runner, then says 'N passed, N failed' for whoever reads only the last line.
// With --stand-in also test/deploy against stand-ins for AWS, which need Python and, the first time, a network.
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { standinPython } from './standin.mjs'

const flags = process.argv.slice(2).filter((a) => a.startsWith('--'))
const only = process.argv.slice(2).filter((a) => !a.startsWith('--'))
const files = readdirSync('test', { recursive: true })
  .map((f) => join('test', f))
  .filter((f) => f.endsWith('.test.ts') && (only.length === 0 || only.some((o) => f.includes(o))))
  .sort()
const counts = { pass: 0, fail: 0, skipped: 0 }
let exitCode = await run(files, 2)

if (flags.includes('--stand-in')) {
  const { python, reason } = standinPython()
  if (python === undefined) console.log(`Skipped: the deployment against stand-ins for AWS. ${reason}`)
  else {
    process.env.STANDIN_PYTHON = python
    exitCode = (await run(standinTests(), 1)) || exitCode
  }
}
console.log(`${counts.pass} passed, ${counts.fail} failed${counts.skipped ? `, ${counts.skipped} skipped` : ''}`)
process.exitCode = exitCode || (counts.pass === 0 ? 1 : 0)

function standinTests() {
  return ['ministack', 'moto', 'lint'].map((name) => join('test', 'deploy', `${name}.ts`))
}

/** Adds to the counts; resolves to the exit code. */
async function run(list, concurrency) {
  const args = ['--import', 'tsx', '--test', '--test-reporter=spec', `--test-concurrency=${concurrency}`, ...list]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let rest = ''
  for await (const chunk of child.stdout) {
    process.stdout.write(chunk)
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const [, key, n] = /^ℹ (pass|fail|skipped) (\d+)$/.exec(line) ?? []
      if (key) counts[key] += Number(n)
    }
  }
  // output can end before the process does, and until then it has no exit code
  if (child.exitCode !== null) return child.exitCode
  return new Promise((done) => child.once('close', (code) => done(code ?? 1)))
}
