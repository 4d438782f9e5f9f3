import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectRoot } from '../../packager/root.ts'

const root = projectRoot()
const skip = existsSync(join(root, 'build', 'cli.mjs')) ? false : 'npm run build comes first'

test('what npm would publish: all that commands read, and nothing that tests and builds leave behind', { skip }, () => {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts']
  const { stdout, stderr } = spawnSync('npm', args, {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  const [{ size, files }] = JSON.parse(stdout || stderr) as [{ size: number; files: { path: string }[] }]
  const paths = files.map((f) => f.path)
  for (const path of [
    'bin/modelayer',
    'build/cli.mjs',
    'build/serverless.mjs',
    'build/thread.mjs',
    'functions/prepared.mjs',
    'layers/runtime.json',
    'src/index.ts',
  ])
    assert.ok(paths.includes(path), path)
  const rooms = /^(bin|build\/[\w-]+\.mjs|build\/chunks|docs|functions|layers|packager|src)\b|^[\w.-]+$/
  assert.equal(paths.filter((p) => !rooms.test(p)).join(), '')
  assert.ok(size < 4_000_000, `${size} bytes`)
})
