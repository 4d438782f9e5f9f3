/**
 * `npm run conformance -- DIR [--only TEXT] [--json]`: imports every case under DIR (case.json + saved_model + inputs + expected, or a
 * cases.json of real models), runs it and compares with TensorFlow's answers at the case's own tolerance. Exit code 1 when any fails.
 * Each batch runs in a child process, since a native crash takes its process along: the case is then counted as failed, the rest go on.
 */

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { silenceTelemetry } from '../src/boot.ts'
import { type Case, loadCases, runCase } from './cases.ts'

silenceTelemetry()

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    json: { type: 'boolean' },
    from: { type: 'string' },
    verbose: { type: 'boolean' },
  },
})
const dirs = positionals
if (dirs.length === 0) {
  console.error('usage: npm run conformance -- DIR… [--only TEXT] [--json]')
  process.exit(2)
}
const cases = dirs.flatMap((d) => collect(d)).filter((c) => !values.only || c.name.includes(values.only))
if (cases.length === 0) {
  console.error(
    `no case.json or cases.json in ${dirs.join(', ')}, nor in the folders right below: unpack archives first`,
  )
  process.exit(2)
}

if (values.from !== undefined) await child(Number(values.from))
else await parent()

function collect(dir: string): Case[] {
  if (existsSync(join(dir, 'case.json')) || existsSync(join(dir, 'cases.json'))) return loadCases(dir)
  return readdirSync(dir, { withFileTypes: true })
    .filter((e) => e.isDirectory())
    .map((e) => e.name)
    .sort()
    .flatMap((name) =>
      existsSync(join(dir, name, 'case.json')) || existsSync(join(dir, name, 'cases.json'))
        ? loadCases(join(dir, name))
        : [],
    )
}

async function child(from: number): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'conformance-'))
  for (let i = from; i < cases.length; i++) {
    process.stdout.write(`${JSON.stringify({ start: i })}\n`)
    process.stdout.write(`${JSON.stringify({ i, why: await runCase(cases[i]!, scratch) })}\n`)
  }
  rmSync(scratch, { recursive: true })
}

async function parent(): Promise<void> {
  const failures: { name: string; why: string }[] = []
  let passed = 0
  let next = 0
  while (next < cases.length) {
    const args = [
      ...process.execArgv,
      fileURLToPath(import.meta.url),
      ...dirs,
      '--from',
      String(next),
      ...(values.only ? ['--only', values.only] : []),
    ]
    const proc = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    let current = next
    for await (const line of createInterface({ input: proc.stdout })) {
      const r = JSON.parse(line) as { start?: number; i?: number; why?: string | null }
      if (r.start !== undefined) current = r.start
      else {
        if (r.why) failures.push({ name: cases[r.i!]!.name, why: r.why })
        else passed++
        next = r.i! + 1
        if (process.stderr.isTTY) process.stderr.write(`\r${next}/${cases.length}, ${failures.length} failed `)
      }
    }
    if (next < cases.length) {
      failures.push({ name: cases[current]!.name, why: 'the process crashed' })
      next = current + 1
    }
  }
  if (values.json) console.log(JSON.stringify({ passed, failed: failures.length, failures }, null, 2))
  else {
    for (const f of failures) console.log(`FAIL ${f.name}: ${f.why.replace(/\s*\n\s*/g, ' ').slice(0, 300)}`)
    console.log(`${dirs.map((d) => basename(d)).join(' ')}: ${passed} passed, ${failures.length} failed`)
  }
  process.exitCode = failures.length > 0 ? 1 : 0
}
