// Runs every test/**/*.test.ts with node's own runner, then says 'N passed, N failed' for whoever reads only the last line.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const only = process.argv.slice(2)
const files = readdirSync('test', { recursive: true })
  .map((f) => join('test', f))
  .filter((f) => f.endsWith('.test.ts') && (only.length === 0 || only.some((o) => f.includes(o))))
  .sort()
const args = ['--import', 'tsx', '--test', '--test-reporter=spec', '--test-concurrency=2', ...files]
const run = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
const exit = once(run, 'exit')
const counts = { pass: 0, fail: 0, skipped: 0 }
let rest = ''
for await (const chunk of run.stdout) {
  process.stdout.write(chunk)
  const lines = (rest + chunk).split('\n')
  rest = lines.pop() ?? ''
  for (const line of lines) {
    const [, key, n] = /^ℹ (pass|fail|skipped) (\d+)$/.exec(line) ?? []
    if (key) counts[key] = Number(n)
  }
}
console.log(`${counts.pass} passed, ${counts.fail} failed${counts.skipped ? `, ${counts.skipped} skipped` : ''}`)
// output can end before the process does, and until then it has no exit code
const [code] = await exit
process.exitCode = (code ?? 1) || (counts.pass === 0 ? 1 : 0)
