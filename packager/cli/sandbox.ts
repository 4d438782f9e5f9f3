import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { DeployOptions, HttpOptions, S3Place } from '../deploy/options.ts'
import type { Service } from '../deploy/service.ts'
import type { Arch } from '../layers/definition.ts'
import { type DistIndex, INDEX, readDist } from '../layers/dist.ts'
import type { ModelPackage } from '../package/types.ts'
import { flag, type Input, integer, one } from './command.ts'
import type { Reporter } from './reporter.ts'
import { localSource } from './s3.ts'

/** What is to stand on this machine, wherever its description came from. */
interface Plan {
  readonly service: Service
  readonly dist: string
  readonly index: DistIndex
  readonly packages: readonly ModelPackage[]
}

/** `serve --sandbox`: the stack that a deploy would make, until somebody presses Ctrl-C. */
export async function serveSandbox(input: Input, io: Reporter): Promise<number> {
  const { silenceTelemetry } = await import('../../src/boot.ts')
  const { settingsOf } = await import('../deploy/settings.ts')
  const { FETCHED, startStack } = await import('../sandbox/stack.ts')
  silenceTelemetry()
  const work = mkdtempSync(join(tmpdir(), 'modelayer-sandbox-'))
  const stopped = stopSignal()
  try {
    const { service, dist, index, packages } = await planOf(input, work, io)
    const { options, stage, region } = service
    const http = withIssuer(options.http, one(input, 'issuer'))
    for (const note of differences(options)) io.note(note)
    const stackName = `${service.name}-${stage}`
    const data = resolve(one(input, 'data') ?? join(service.dir, '.modelayer', 'buckets'))
    const stack = await io.step('Start', () =>
      startStack({
        dist,
        index,
        arch: process.arch as Arch,
        settings: settingsOf(options, stackName, { index, raw: service.raw, models: FETCHED }, service.environment),
        http,
        quota: service.quota,
        stage,
        region,
        batch: options.batch,
        capture: options.capture,
        data,
        concurrency: integer(input, 'concurrency', { min: 1, max: 1000 }) ?? 10,
        front: {
          port: integer(input, 'port', { min: 0, max: 65_535 }) ?? 8080,
          host: one(input, 'host') ?? '127.0.0.1',
        },
        log: (line) => io.note(line),
      }),
    )
    try {
      for (const limit of stack.limits) io.note(`Not as in Lambda: ${limit}`)
      for (const note of stack.access?.notes ?? []) io.note(note)
      const folder = ({ bucket, prefix }: S3Place) => join(data, bucket, prefix)
      if (options.capture) io.note(`Captured requests: ${folder(options.capture)}`)
      if (options.batch) {
        io.note(`Objects: put files into ${folder(options.batch.input)}, or use AWS_ENDPOINT_URL_S3=${stack.s3}`)
        io.note(`Results: ${folder(options.batch.output)}`)
      }
      const { curlLine } = await import('../curl.ts')
      const flags = stack.access?.flags ?? []
      const several = index.models.length > 1
      const url = stack.front?.url
      const curl = url === undefined ? [] : await Promise.all(packages.map((p) => curlLine(p, url, { several, flags })))
      const models = index.models.map((m) => `${m.name}@${m.version}`)
      const where = url === undefined ? 'without an endpoint' : `on ${url} (${http?.api}, ${http?.auth})`
      io.result(
        { url, models, s3: stack.s3, curl },
        [`Serving ${models.join(', ')} ${where}`, ...curl.map((l) => `  ${l}`)].join('\n'),
      )
      await stopped
    } finally {
      await stack.close()
    }
    return 0
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Options that would do nothing are mistakes of whoever gave them. */
function refuse(input: Input, names: readonly string[], expected: string): void {
  const given = names.find((name) => input.options[name] !== undefined && input.options[name] !== false)
  if (given) throw new AppError('USAGE', { where: `--${given}`, expected, got: '--sandbox' })
}

async function planOf(input: Input, work: string, io: Reporter): Promise<Plan> {
  refuse(input, ['label', 'threads', 'inbox', 'outbox'], 'serve without --sandbox')
  const { hasService, readService } = await import('../deploy/service.ts')
  const dir = one(input, 'service') ?? (input.args.length === 0 && hasService('.') ? '.' : undefined)
  if (dir !== undefined) {
    if (input.args.length > 0)
      throw new AppError('USAGE', {
        expected: '--service or models',
        got: 'both',
        fix: 'The models are in serverless.yml.',
      })
    refuse(input, ['name', 'version', 'api', 'cors'], 'custom.modelayer of serverless.yml to say so, with --service')
    const service = await io.step('Read serverless.yml', () => readService(dir, one(input, 'stage')))
    const packages = await openModels(service, io)
    return { service, packages, ...(await build(packages, join(work, 'dist'), service.options, io)) }
  }
  const [first] = input.args
  if (first === undefined)
    throw new AppError('USAGE', { expected: 'a model, what `modelayer package` built, or --service DIR', got: 'none' })
  const service = await alone(input)
  if (existsSync(join(first, INDEX))) return { service, packages: [], dist: first, index: await readDist(first) }
  const { openAny } = await import('../package/open.ts')
  const packages: ModelPackage[] = []
  const [name, version] = [one(input, 'name'), one(input, 'version')]
  for (const source of input.args) packages.push(await openAny(await localSource(source, io), { name, version }))
  return { service, packages, ...(await build(packages, join(work, 'dist'), service.options, io)) }
}

/** Without a service file: its defaults, open to this machine. */
async function alone(input: Input): Promise<Service> {
  const { readOptions } = await import('../deploy/options.ts')
  const api = one(input, 'api') ?? 'http'
  const raw = {
    models: { model: '.' },
    arch: process.arch,
    http: { api, auth: 'none', cors: flag(input, 'cors') },
  }
  const here = resolve('.')
  return {
    dir: here,
    name: 'modelayer',
    stage: 'dev',
    region: 'us-east-1',
    options: readOptions(raw),
    raw,
    environment: {},
  }
}

async function openModels({ dir, options }: Service, io: Reporter): Promise<ModelPackage[]> {
  const { openAny } = await import('../package/open.ts')
  return Promise.all(
    Object.entries(options.models).map(async ([name, source]) =>
      openAny(source.startsWith('s3://') ? await localSource(source, io) : resolve(dir, source), { name }),
    ),
  )
}

async function build(packages: readonly ModelPackage[], out: string, o: DeployOptions, io: Reporter) {
  const { pack } = await import('../layers/pack.ts')
  const { image, storage, efs, memory } = o
  const fit = { storage, efs: efs !== undefined, memory }
  const { index } = await pack(packages, { out, arch: [process.arch as Arch], image, reporter: io, fit })
  return { dist: out, index }
}

/** A stand-in for the issuer of tokens, which need not be https on this machine. */
function withIssuer(http: HttpOptions | undefined, issuer: string | undefined): HttpOptions | undefined {
  if (issuer === undefined) return http
  if (http?.auth !== 'jwt')
    throw new AppError('USAGE', { where: '--issuer', expected: 'http.auth: jwt', got: http?.auth ?? 'none' })
  return { ...http, issuer }
}

/** What a deploy would do otherwise, a line each. */
function differences({ arch, runtime }: DeployOptions): string[] {
  const major = process.versions.node.split('.')[0]
  return [
    ...(arch === process.arch ? [] : [`The service is for ${arch}; built for this machine's ${process.arch} instead.`]),
    ...(runtime === `nodejs${major}.x`
      ? []
      : [`The service runs on ${runtime}; here it is Node ${process.versions.node}.`]),
  ]
}

/** From now on, so that Ctrl-C during the start cleans up as well. */
function stopSignal(): Promise<void> {
  return new Promise((done) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => done())
  })
}
