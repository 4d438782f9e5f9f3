import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { COMMANDS } from '../../packager/cli/commands.ts'
import { FAMILIES } from '../../packager/ops/index.ts'
import { projectRoot } from '../../packager/root.ts'
import { DOCS } from '../../scripts/docs.ts'
import { ERRORS } from '../../src/errors.ts'

const read = (...path: string[]) => readFileSync(join(projectRoot(), ...path), 'utf8')

for (const [file, make] of Object.entries(DOCS))
  test(`docs/${file} is what the tables say (npm run docs)`, () => {
    assert.equal(read('docs', file), make())
  })

test('no operator has two rows', () => {
  const seen = new Map<string, string>()
  for (const [family, table] of Object.entries(FAMILIES))
    for (const op of Object.keys(table)) {
      assert.equal(seen.get(op), undefined, `${op} is in ${seen.get(op)} and ${family}`)
      seen.set(op, family)
    }
})

test('every error code is thrown somewhere', () => {
  const files = ['src', 'packager'].flatMap((room) =>
    readdirSync(join(projectRoot(), room), { recursive: true, encoding: 'utf8' })
      .filter((f) => f.endsWith('.ts'))
      .map((f) => join(room, f)),
  )
  const text = files
    .filter((f) => !f.endsWith('errors.ts'))
    .map((f) => read(f))
    .join('\n')
  assert.deepEqual(
    Object.keys(ERRORS).filter((code) => !text.includes(`'${code}'`)),
    [],
  )
})

test('README names every command', () => {
  const readme = read('README.md')
  assert.deepEqual(
    COMMANDS.map((c) => c.name).filter((name) => !readme.includes(`modelayer ${name}`)),
    [],
  )
})
