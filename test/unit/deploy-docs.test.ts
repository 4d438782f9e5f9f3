import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readOptions } from '../../packager/deploy/options.ts'
import { projectRoot } from '../../packager/root.ts'

const read = (name: string) => readFileSync(join(projectRoot(), 'docs', name), 'utf8')

/** What the options need to be looked at one by one. */
const BASE: Readonly<Record<string, object>> = {
  http: { auth: 'none' },
  batch: { input: 's3://digits-in/', output: 's3://digits-out/' },
  capture: { output: 's3://digits-kept/' },
}
const UNKNOWN = { '?': 1 }

/** The names that an error lists where an unknown one was given; none where there is no object of named options. */
function keysOf(raw: object): string[] {
  try {
    readOptions({ models: { m: '.' }, ...raw })
  } catch (e) {
    const [, keys] = /expected ([\w, ]+) for [\w.]+ but received '?\?'?/.exec((e as Error).message) ?? []
    return keys?.split(', ') ?? []
  }
  return []
}

/** `http`, `http.auth`, … of all depths. */
function optionNames(): string[] {
  const names: string[] = []
  for (const top of keysOf(UNKNOWN)) {
    names.push(top)
    for (const key of keysOf({ [top]: UNKNOWN })) {
      names.push(`${top}.${key}`)
      const inner = keysOf({ [top]: { ...BASE[top], [key]: UNKNOWN } })
      names.push(...inner.map((k) => `${top}.${key}.${k}`))
    }
  }
  return names
}

/** First cell and the rest of each row of the options table. */
const ROWS = read('deploy.md')
  .split('## Options')[1]!
  .split('\n## ')[0]!
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => line.split(' | '))
  .map(([names = '', ...rest]) => ({ names: [...(names.match(/(?<=`)[\w.]+(?=`)/g) ?? [])], rest: rest.join(' ') }))

test('docs/deploy.md has a row for every option, or names it in the row of its group, and no others', () => {
  const names = optionNames()
  assert.ok(names.includes('batch.map.tolerated') && names.includes('http.throttle.burst'), names.join())
  const rows = ROWS.flatMap((r) => r.names)
  assert.equal(rows.filter((name) => !names.includes(name)).join(), '')
  const told = (name: string): boolean => {
    if (rows.some((row) => row === name || row.startsWith(`${name}.`))) return true
    const at = name.lastIndexOf('.')
    const group = ROWS.find((r) => r.names.includes(name.slice(0, at)))
    return at > 0 && group !== undefined && new RegExp(`\\b${name.slice(at + 1)}\\b`).test(group.rest)
  }
  // those of the batch function stand in a document of their own
  const jobs = (name: string) => name.startsWith('batch.options.')
  assert.equal(names.filter((name) => !jobs(name) && !told(name)).join(), '')
  const job = /^\| `MODELAYER_BATCH_OPTIONS` .*$/m.exec(read('batch.md'))![0]
  assert.equal(
    names.filter((name) => jobs(name) && !job.includes(`\`${name.slice('batch.options.'.length)}\``)).join(),
    '',
  )
})
