import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { projectRoot } from '../root.ts'
import { type DeployOptions, readOptions } from './options.ts'

/** A service file as the sandbox needs it, with its variables resolved. */
export interface Service {
  readonly dir: string
  readonly name: string
  readonly stage: string
  readonly region: string
  readonly options: DeployOptions
  /** `custom.modelayer` as it is written: what is left open there may be decided by the models */
  readonly raw: unknown
  /** of all functions, below their own */
  readonly environment: Readonly<Record<string, unknown>>
  /** how often the key of a REST API may be used */
  readonly quota?: { readonly limit: number; readonly period: 'DAY' | 'WEEK' | 'MONTH' }
}

const FILES = ['yml', 'yaml', 'json', 'js', 'cjs', 'mjs', 'ts'].map((x) => `serverless.${x}`)

export const hasService = (dir: string): boolean => FILES.some((f) => existsSync(join(dir, f)))

/** By osls itself, which reads every form of service file and resolves the variables in it. @throws {AppError} USAGE */
export async function readService(path: string, stage?: string): Promise<Service> {
  const dir = resolve(path)
  if (!hasService(dir))
    throw new AppError('USAGE', {
      where: dir,
      expected: 'a serverless.yml',
      got: 'none',
      fix: 'Name its folder: --service DIR.',
    })
  const printed = JSON.parse(await print(dir, stage)) as Printed
  const modelayer = printed.custom?.modelayer
  if (modelayer === undefined)
    throw new AppError('USAGE', { where: join(dir, 'serverless.yml'), expected: 'custom.modelayer', got: 'none' })
  const { provider } = printed
  return {
    dir,
    name: printed.service,
    stage: stage ?? provider.stage ?? 'dev',
    region: provider.region ?? 'us-east-1',
    options: readOptions(modelayer),
    raw: modelayer,
    environment: provider.environment ?? {},
    quota: provider.apiGateway?.usagePlan?.quota,
  }
}

interface Printed {
  readonly service: string
  readonly provider: {
    readonly stage?: string
    readonly region?: string
    readonly environment?: Readonly<Record<string, unknown>>
    readonly apiGateway?: { readonly usagePlan?: { readonly quota?: Service['quota'] } }
  }
  readonly custom?: { readonly modelayer?: unknown }
}

function print(cwd: string, stage: string | undefined): Promise<string> {
  const args = [osls(cwd), 'print', '--format', 'json', ...(stage === undefined ? [] : ['--stage', stage])]
  const env = { AWS_EC2_METADATA_DISABLED: 'true', SLS_TELEMETRY_DISABLED: '1', ...process.env }
  return new Promise((done, fail) => {
    execFile(process.execPath, args, { cwd, env, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (!error) return done(stdout)
      const said = `${stdout}\n${stderr}`.split('\n').map((l) => l.trim())
      const at = said.findIndex((l) => /^(Error|✖|.*Exception)/.test(l))
      fail(
        new AppError('USAGE', {
          where: join(cwd, 'serverless.yml'),
          expected: 'a service that `serverless print` reads',
          got: said
            .slice(Math.max(at, 0))
            .filter((l) => !/^(Error:?)?$/.test(l))
            .slice(0, 2)
            .join(' '),
          fix: 'Variables of AWS need its credentials. A package alone needs no service file: modelayer serve --sandbox PACKAGE.',
          cause: error,
        }),
      )
    })
  })
}

/** The one of the service, or ours in a clone. */
function osls(dir: string): string {
  for (const from of [dir, projectRoot()]) {
    try {
      const file = createRequire(join(from, 'package.json')).resolve('osls/package.json')
      const { bin } = createRequire(file)('./package.json') as { readonly bin: Readonly<Record<string, string>> }
      return join(dirname(file), bin.serverless ?? Object.values(bin)[0]!)
    } catch (e) {
      if (!['MODULE_NOT_FOUND', 'ERR_PACKAGE_PATH_NOT_EXPORTED'].includes((e as NodeJS.ErrnoException).code ?? ''))
        throw e
    }
  }
  throw new AppError('USAGE', {
    where: dir,
    expected: 'osls, which reads serverless.yml',
    got: 'none',
    fix: 'npm i -D osls',
  })
}
