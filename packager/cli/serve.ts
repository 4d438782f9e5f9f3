import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { INDEX, STORES } from '../layers/dist.ts'
import type { ModelPackage } from '../package/types.ts'
import { defaultCache } from '../root.ts'
import { type Command, flag, type Input, integer, many, one } from './command.ts'
import { openInbox } from './inbox.ts'
import type { Reporter } from './reporter.ts'
import { localSource } from './s3.ts'

export const serve: Command = {
  name: 'serve',
  summary: 'Answer requests on this machine as the deployed function does.',
  text: [
    'Takes model packages, bare models (a SavedModel, a TensorFlow Serving folder with versions, an .onnx, .keras, .h5 …)',
    'and what `modelayer package` built. A bare model has the name of its folder, or of the parent where the folder is a version.',
  ].join('\n'),
  args: [{ name: '[model...]', text: 'packages, models, or a folder with modelayer.json; s3:// prefixes too' }],
  options: [
    { flags: '--port <n>', text: 'port to listen on, 0 for any free one', default: '8080' },
    { flags: '--host <address>', text: 'address to listen on', default: '127.0.0.1' },
    { flags: '--name <name>', text: 'name of the model, where only one is given' },
    { flags: '--version <n>', text: 'which version, where there are several (default: the newest)' },
    { flags: '--label <model/label=version>', text: 'name a version for requests to /labels/…', repeat: true },
    { flags: '--cors', text: 'let pages of any origin read the answers' },
    { flags: '--threads <n>', text: 'threads of one inference (default: 1, as in a small function)' },
    { flags: '--inbox <dir>', text: 'answer each file that appears there too, as S3 would start a batch' },
    { flags: '--outbox <dir>', text: 'where the results of --inbox go' },
    {
      flags: '--sandbox',
      text: 'the deployed stack on this machine: the built zips in Lambda environments, behind the API',
    },
    {
      flags: '--service <dir>',
      text: 'with --sandbox: the folder of serverless.yml (default: this one, where no model is named)',
    },
    { flags: '--stage <name>', text: 'with --service: the stage' },
    {
      flags: '--api <kind>',
      text: 'with --sandbox and without a service: the kind of endpoint',
      choices: ['http', 'rest', 'url'],
    },
    { flags: '--issuer <url>', text: 'with --sandbox: who issues tokens here, instead of http.issuer' },
    { flags: '--data <dir>', text: 'with --sandbox: where buckets are folders (default: .modelayer/buckets)' },
    {
      flags: '--concurrency <n>',
      text: 'with --sandbox: environments of a function at a time, where it reserves none (default: 10)',
    },
  ],
  examples: [
    'modelayer serve examples/mnist',
    'modelayer serve saved_model --name digits --port 9000',
    'modelayer serve dist',
    'modelayer serve examples/mnist --inbox in --outbox out',
    'modelayer serve --sandbox',
    'modelayer serve --sandbox dist --api rest',
  ],
  async run(input, io) {
    if (flag(input, 'sandbox')) return (await import('./sandbox.ts')).serveSandbox(input, io)
    refuseSandboxOptions(input)
    const { silenceTelemetry } = await import('../../src/boot.ts')
    silenceTelemetry()
    const { openStore } = await import('../../src/models.ts')
    const { parseLabels } = await import('../../src/labels.ts')
    const { createApp } = await import('../../src/http/app.ts')
    const { placeFrom } = await import('../layers/assemble.ts')
    const { listen } = await import('../../src/http/node.ts')
    const name = one(input, 'name')
    if (name !== undefined && input.args.length > 1)
      throw new AppError('USAGE', { where: '--name', expected: 'one model', got: `${input.args.length} models` })
    const root = mkdtempSync(join(tmpdir(), 'modelayer-serve-'))
    try {
      const staged = []
      for (const source of input.args)
        staged.push(await stage(await localSource(source, io), root, { name, version: one(input, 'version') }, io))
      const packages = staged.flatMap((s) => s.pkg ?? [])
      const store = openStore({
        roots: [...new Set(staged.flatMap((s) => s.roots))],
        threads: integer(input, 'threads', { min: 1, max: 64 }) ?? 1,
        labels: parseLabels(many(input, 'label')),
        place: placeFrom(
          input.args.map((a) => join(a, STORES)),
          root,
        ),
      })
      await io.step('Load', () => Promise.all(store.models.map((m) => Promise.all([m.session(), m.service()]))))
      const app = createApp(store, { log: (line) => io.note(JSON.stringify(line)), cors: flag(input, 'cors') })
      const port = integer(input, 'port', { min: 0, max: 65_535 }) ?? 8080
      const server = await listen(app, { port, host: one(input, 'host') ?? '127.0.0.1' })
      const models = store.models.map((m) => `${m.manifest.model}@${m.manifest.version}`)
      const { curlLine } = await import('../curl.ts')
      const several = packages.length > 1
      const lines = await Promise.all(packages.map((p) => curlLine(p, server.url, { several })))
      io.result(
        { url: server.url, models, curl: lines },
        [`Serving ${models.join(', ')} on ${server.url}`, ...lines.map((l) => `  ${l}`)].join('\n'),
      )
      const inbox = await openInbox(input, store, io)
      await new Promise<void>((resolve) => {
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
      })
      await inbox?.close()
      await server.close()
      return 0
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  },
}

/** An option that would do nothing is a mistake of whoever gave it. */
function refuseSandboxOptions(input: Input): void {
  const given = ['service', 'stage', 'api', 'issuer', 'data', 'concurrency'].find((o) => one(input, o) !== undefined)
  if (given) throw new AppError('USAGE', { where: `--${given}`, expected: '--sandbox', got: 'none' })
  if (input.args.length === 0) throw new AppError('USAGE', { expected: 'a model, or --sandbox', got: 'none' })
}

/** Folders that a model store opens: a package staged under `root`, or what a build has unpacked. */
export async function stage(
  path: string,
  root: string,
  options: { name?: string; version?: string },
  io: Reporter,
): Promise<{ roots: string[]; pkg?: ModelPackage }> {
  if (existsSync(join(path, INDEX))) return { roots: await io.step(`Unpack ${path}`, () => unpackBuilt(path)) }
  const { openAny } = await import('../package/open.ts')
  const { stagePackage } = await import('../stage.ts')
  const pkg = await openAny(path, options)
  for (const f of pkg.findings) if (f.severity === 'warning') io.warn(f.message)
  await stagePackage(pkg, root, io)
  return { roots: [root], pkg }
}

/** The model layers and the function with its hooks; native code comes from node_modules here. */
async function unpackBuilt(dist: string): Promise<string[]> {
  const { readDist } = await import('../layers/dist.ts')
  const { unpack } = await import('../sandbox/unpack.ts')
  const { layers, functions, models, images } = await readDist(dist)
  const image = images && Object.values(images)[0]
  if (image !== undefined) return ['opt', 'task'].map((f) => join(dist, image, f))
  const wanted = [
    ...layers.filter((l) => models.some((m) => m.layer === l.name)),
    ...functions.filter((f) => f.name === 'predict'),
  ]
  return Promise.all(wanted.map((w) => unpack(join(dist, w.file), defaultCache())))
}
