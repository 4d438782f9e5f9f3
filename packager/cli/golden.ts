import { basename, join, resolve } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { ModelPackage } from '../package/types.ts'
import type { SavedRequest } from '../verify/request.ts'
import { withApp } from './app.ts'
import { type Command, flag, type Input, many, one } from './command.ts'
import type { Reporter } from './reporter.ts'
import { localSource } from './s3.ts'
import { seconds, table } from './table.ts'

export const golden: Command = {
  name: 'golden',
  summary: 'Send the golden requests of a package and compare the answers, or record new ones.',
  text: 'A golden request is golden/NAME.json in the package: a request, its answer, and how close numbers must be.',
  args: [{ name: '<package>', text: 'a folder, name@version, or s3:// prefix' }],
  options: [
    { flags: '--version <n>', text: 'which version, where there are several (default: the newest)' },
    { flags: '--record', text: 'write golden requests from -F or --data instead of comparing' },
    { flags: '-F, --form <field>', text: 'a form field: images=@7.png or note=text; with --record', repeat: true },
    { flags: '--data <file>', text: 'a JSON file as request; with --record', repeat: true },
    { flags: '--name <name>', text: 'name of the recorded request (default: after its first file)' },
    { flags: '--each', text: 'with -F: a request of its own for every file' },
    { flags: '--path <path>', text: 'path of the request', default: '/' },
  ],
  examples: [
    'modelayer golden examples/mnist',
    'modelayer golden examples/mnist --record -F images=@examples/mnist/digits/7.png',
    'modelayer golden examples/iris --record --data request.json --name setosa',
  ],
  async run(input, io) {
    const { openAny } = await import('../package/open.ts')
    const path = await localSource(input.args[0]!, io)
    const pkg = await openAny(path, { version: one(input, 'version') })
    for (const f of pkg.findings) if (f.severity === 'warning') io.warn(f.message)
    return flag(input, 'record') ? record(pkg, input, io) : compare(pkg, io)
  },
}

async function compare(pkg: ModelPackage, io: Reporter): Promise<number> {
  const { renderDifferences, runGolden } = await import('../verify/golden.ts')
  const dir = pkg.goldenDir
  if (!dir) {
    const fix = 'Record some with --record.'
    throw new AppError('BAD_GOLDEN', { where: pkg.dir, expected: 'a folder golden/', got: 'none', fix })
  }
  const results = await withApp(pkg, io, (app) =>
    io.step('Golden requests', (progress) =>
      runGolden(app, dir, { root: pkg.dir, onResult: (done, of) => progress(`${done} of ${of}`) }),
    ),
  )
  const failed = results.filter((r) => r.differences.length > 0)
  const rows = results.map((r) => [r.name, r.status, r.differences.length === 0 ? 'same' : 'differs', seconds(r.ms)])
  const lines = [table(['golden', 'status', 'answer', 'time'], rows)]
  if (failed.length > 0) lines.push('', renderDifferences(failed))
  io.result({ passed: results.length - failed.length, failed: failed.length, results }, lines.join('\n'))
  return failed.length === 0 && results.length > 0 ? 0 : 1
}

async function record(pkg: ModelPackage, input: Input, io: Reporter): Promise<number> {
  const { recordGolden } = await import('../verify/golden.ts')
  const dir = pkg.goldenDir ?? join(pkg.dir, 'golden')
  const requests = await recordings(input, dir)
  const written = await withApp(pkg, io, (app) =>
    io.step('Record', () => recordGolden(app, requests, dir, { root: pkg.dir })),
  )
  io.result({ written }, written.join('\n'))
  return 0
}

/** What the command line asks to record; files are named relative to the golden folder, and belong to the package. */
async function recordings(input: Input, dir: string): Promise<{ name: string; request: SavedRequest }[]> {
  const { namedFrom } = await import('../verify/golden.ts')
  const { parseField, parseForm, readJsonFile } = await import('../verify/request.ts')
  const path = one(input, 'path') === '/' ? {} : { path: one(input, 'path') }
  const stem = (file: string) => basename(file).replace(/\.[^.]+$/, '')
  const given = many(input, 'form')
  const groups = flag(input, 'each') ? given.map((f) => [f]) : given.length > 0 ? [given] : []
  const forms = groups.map((group) => {
    const parts = group.map((f) => {
      const [field, part] = parseField(f)
      return [field, typeof part === 'string' ? part : { ...part, file: namedFrom(dir, resolve(part.file)) }] as const
    })
    const first = parts.map(([, part]) => part).find((part) => typeof part !== 'string')
    return { name: first ? stem(first.file) : 'form', request: { ...path, multipart: parseForm(parts) } }
  })
  const json = many(input, 'data').map((f) => ({ name: stem(f), request: { ...path, json: readJsonFile(f) } }))
  const all = [...forms, ...json]
  const name = one(input, 'name')
  if (all.length === 0) throw new AppError('USAGE', { where: '--record', expected: '-F or --data', got: 'neither' })
  if (name !== undefined && all.length > 1) {
    throw new AppError('USAGE', { where: '--name', expected: 'one request', got: `${all.length}` })
  }
  return name === undefined ? all : [{ ...all[0]!, name }]
}
