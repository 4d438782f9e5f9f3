import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { before, test } from 'node:test'
import type { Command } from '../../packager/cli/command.ts'
import { COMMANDS } from '../../packager/cli/commands.ts'
import { main } from '../../packager/cli/main.ts'
import { AppError } from '../../src/errors.ts'
import { BIN, built, ROOT, run } from '../fixtures/package/run.ts'
import { tree } from '../fixtures/package/tree.ts'

before(built)

test('help: every command with its line, on stdout; each command with options and examples', async () => {
  const { code, out, err } = await run(['--help'])
  assert.deepEqual([code, err], [0, ''])
  assert.match(out, /Exit codes: 0 fine, 1 findings or refused, 2 wrong usage, 3 internal error/)
  for (const c of COMMANDS) {
    assert.ok(out.includes(`  ${c.name}`), c.name)
    const help = await run([c.name, '--help'])
    assert.deepEqual([help.code, help.err], [0, ''])
    assert.match(
      help.out,
      new RegExp(`Usage: modelayer ${c.name}[\\s\\S]*--quiet[\\s\\S]*Examples:\\n {2}\\$ modelayer ${c.name} `),
    )
    assert.match(help.out, /--json/)
  }
  assert.equal(
    (await run(['--version'])).out.trim(),
    JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version,
  )
})

test('wrong usage exits 2 with what to do, on stderr only; with --json as a document on stdout', async () => {
  const rows: [args: string[], message: RegExp][] = [
    [['validat'], /unknown command 'validat'[\s\S]*Did you mean validate\?/],
    [['validate'], /missing required argument 'package'.* See modelayer validate --help/],
    [['validate', '--nope', 'x'], /unknown option '--nope'/],
    [['predict', 'examples/iris'], /expected either -F or --json for predict but received neither/],
    [['predict', 'examples/iris', '-F', 'images'], /field=@file or field=text/],
    [['golden', 'examples/iris', '--record'], /expected -F or --data/],
  ]
  for (const [args, message] of rows) {
    const { code, out, err } = await run(args)
    assert.deepEqual([code, out], [2, ''], err)
    assert.match(err, message)
    assert.doesNotMatch(err, /\n\s+at /)
  }
  const bare = await run([])
  assert.equal(bare.code, 2)
  assert.match(bare.err, /Usage: modelayer/)
  const json = await run(['validate', '--json'])
  assert.deepEqual([json.code, json.err, JSON.parse(json.out).error.code], [2, '', 'USAGE'])
})

test('a clone that is not built says how to build it', async (t) => {
  const root = tree(t, {})
  mkdirSync(join(root, 'bin'))
  cpSync(BIN, join(root, 'bin/modelayer.mjs'))
  const { code, err } = await run(['--help'], { bin: join(root, 'bin/modelayer.mjs') })
  assert.deepEqual([code, err], [3, 'modelayer is not built yet: run `npm run build` in its folder.\n'])
})

/** main() in this process, with commands and streams of the test. */
async function inProcess(argv: string[], runCommand: Command['run'], env = {}, tty = false) {
  const [out, err] = [new PassThrough(), Object.assign(new PassThrough(), { isTTY: tty, columns: 60 })]
  const command: Command = { name: 'try', summary: 'x', args: [], options: [], examples: [], run: runCommand }
  const code = await main(argv, { out, err, env }, [command])
  return { code, out: String(out.read() ?? ''), err: visible(String(err.read() ?? '')) }
}

/** control characters as themselves to the eye */
const visible = (s: string) => s.replaceAll('\x1b', '␛').replaceAll('\r', '␍')

test('exit codes and screens of errors: ours in one line, others as defects, stacks only with --debug', async () => {
  const refuse: Command['run'] = async () => {
    throw new AppError('BAD_PACKAGE', { where: 'x', got: 'y', cause: new Error('deep down') })
  }
  const defect: Command['run'] = async () => {
    throw new TypeError('oops')
  }
  const refused = await inProcess(['try'], refuse)
  assert.deepEqual(refused, { code: 1, out: '', err: 'error BAD_PACKAGE The model package has faults for x: y.\n' })
  const broken = await inProcess(['try'], defect)
  assert.deepEqual([broken.code, broken.out], [3, ''])
  assert.match(broken.err, /^error oops\n.*--debug.*\n$/)
  assert.match((await inProcess(['try', '--debug'], defect)).err, /TypeError: oops\n {4}at /)
  assert.match((await inProcess(['try', '--debug'], refuse)).err, /caused by Error: deep down\n {4}at /)
  const json = await inProcess(['try', '--json'], defect)
  assert.deepEqual([json.code, JSON.parse(json.out)], [3, { error: { code: 'INTERNAL', message: 'oops' } }])
  assert.equal((await inProcess(['try'], async () => 1)).code, 1)
})

test('progress goes to stderr: a live line on a terminal, plain lines elsewhere, none with --quiet and --json', async () => {
  const work: Command['run'] = async (_, io) => {
    await io.step('Pack', (progress) => {
      io.note('note')
      progress('2 of 2')
    })
    io.warn('careful')
    io.result({ n: 10n }, 'ten')
    return 0
  }
  const plain = await inProcess(['try'], work)
  assert.deepEqual([plain.code, plain.out], [0, 'ten\n'])
  assert.match(plain.err, /^note\n✓ Pack: 2 of 2 \d+ ms\nwarning careful\n$/)
  const live = await inProcess(['try'], work, {}, true)
  assert.match(live.err, /⠋ Pack.*␍␛\[2Knote\n.*␛\[32m✓␛\[0m Pack: 2 of 2/s)
  const colourless = await inProcess(['try'], work, { NO_COLOR: '1' }, true)
  assert.doesNotMatch(colourless.err, /␛\[\d+m/)
  assert.equal((await inProcess(['try', '-q'], work)).err, 'warning careful\n')
  const json = await inProcess(['try', '--json'], work)
  assert.deepEqual([json.err, JSON.parse(json.out)], ['', { n: '10', warnings: ['careful'] }])
  assert.deepEqual((await inProcess(['--json', 'try'], work)).out, json.out)
})
