import { resolve } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { ServiceFile } from '../deploy/servicefile.ts'
import { type Command, flag, type Input, one } from './command.ts'
import type { Alias, Version } from './lambda.ts'
import type { Reporter } from './reporter.ts'
import { localSource } from './s3.ts'
import { table } from './table.ts'

const ALIAS = 'live'
const OF_SERVICE = ['predict', 'batch']

export const rollback: Command = {
  name: 'rollback',
  summary: 'Point the deployed endpoint at the version before, or at another one.',
  text: [
    'Lists the published versions of a function and moves its alias `live`, which is what the endpoint calls; versions keep their code',
    'and layers. The next deploy that changes something points the alias at its own version again.',
  ].join('\n'),
  args: [{ name: '[service]', text: 'folder of the serverless.yml (default: here)' }],
  options: [
    {
      flags: '--function <name>',
      text: 'predict or batch of the service, or any function by its whole name',
      default: 'predict',
    },
    { flags: '--stage <stage>', text: 'of the service (default: what its file says, or dev)' },
    { flags: '--region <region>', text: 'of the function (default: what the file says, or the environment)' },
    { flags: '--to <version>', text: 'number of the version (default: the one before)' },
    { flags: '--golden', text: 'send the golden requests of the service to the version first' },
    { flags: '--dry-run', text: 'list the versions and say what would happen' },
  ],
  examples: [
    'modelayer rollback --dry-run',
    'modelayer rollback --to 3 --golden',
    'modelayer rollback --function digits-prod-predict --region eu-central-1',
  ],
  async run(input, io) {
    const { functionName, region, service, dir } = await target(input)
    const { connectReleases } = await import('./lambda.ts')
    const releases = await connectReleases(functionName, ALIAS, region)
    const [versions, live] = [await releases.versions(), await releases.alias()]
    const to = chosen(versions, live, one(input, 'to'), functionName)
    const shares = Object.entries(live.shares)
    if (shares.length > 0)
      io.warn(
        `Version ${shares.map(([v, share]) => `${v} gets ${Math.round(100 * share)} % of the traffic`).join(', ')}: where CodeDeploy is shifting it, stop that deployment first.`,
      )
    const stays = to === live.version && shares.length === 0
    if (flag(input, 'golden')) await check(functionName, region, to, service, dir, io)
    const moved = !stays && !flag(input, 'dryRun')
    if (moved) await io.step('Move the alias', () => releases.move(live, to))
    io.result(
      { function: functionName, alias: ALIAS, from: live.version, to, moved, versions },
      `${list(versions, live, to)}\n\n${functionName}: ${sentence(live.version, to, stays, moved)}`,
    )
    return 0
  },
}

async function target(input: Input) {
  const [name, region] = [one(input, 'function')!, one(input, 'region')]
  const dir = resolve(input.args[0] ?? '.')
  const { readServiceFile } = await import('../deploy/servicefile.ts')
  if (!OF_SERVICE.includes(name)) {
    const service = flag(input, 'golden') ? readServiceFile(dir) : undefined
    return { functionName: name, region, service, dir }
  }
  const service = readServiceFile(dir)
  const stage = one(input, 'stage') ?? service.stage
  return { functionName: `${service.service}-${stage}-${name}`, region: region ?? service.region, service, dir }
}

function chosen(versions: readonly Version[], live: Alias, to: string | undefined, functionName: string): string {
  const numbers = versions.map((v) => v.version)
  if (to !== undefined) {
    if (numbers.includes(to)) return to
    throw new AppError('NO_RELEASE', {
      where: functionName,
      expected: `one of ${numbers.join(', ')}`,
      got: `version ${to}`,
    })
  }
  const before = numbers.filter((n) => Number(n) < Number(live.version)).at(-1)
  if (before !== undefined) return before
  throw new AppError('NO_RELEASE', {
    where: functionName,
    expected: `a version before ${live.version}, which is live`,
    got: numbers.join(', '),
    fix: 'Name one with --to.',
  })
}

/** The rule by which a deploy lets a version through, from here. */
async function check(
  functionName: string,
  region: string | undefined,
  to: string,
  service: ServiceFile | undefined,
  dir: string,
  io: Reporter,
): Promise<void> {
  const { openAny } = await import('../package/open.ts')
  const { storedOf } = await import('../layers/golden.ts')
  const { checkVersion } = await import('../../src/golden/run.ts')
  const { invokeVersion } = await import('../../src/golden/invoke.ts')
  const packages = await Promise.all(
    Object.entries(service?.models ?? {}).map(async ([name, source]) => {
      const path = await localSource(source.startsWith('s3://') ? source : resolve(dir, source), io)
      return openAny(path, { name })
    }),
  )
  const goldens = storedOf(packages)
  const invoke = invokeVersion(`${functionName}:${to}`, { region, patienceMs: 0 })
  const { sent, failures } = await io.step('Golden requests', () =>
    checkVersion(goldens, invoke, { deadline: Date.now() + CHECK_MS, log: (line) => io.debug(JSON.stringify(line)) }),
  )
  if (failures.length === 0) return io.note(`Version ${to} answers ${sent} golden requests as recorded.`)
  throw new AppError('GOLDEN_DIFFERS', {
    where: `version ${to}`,
    got: `${failures.length} of ${sent} differ\n${failures.join('\n')}\n`,
    fix: 'The alias has not moved; leave --golden out to move it all the same.',
  })
}

const CHECK_MS = 15 * 60_000

function list(versions: readonly Version[], live: Alias, to: string): string {
  const mark = (version: string) => {
    const share = live.shares[version]
    return [
      ...(version === live.version ? [ALIAS] : []),
      ...(share === undefined ? [] : [`${Math.round(100 * share)} %`]),
      ...(version === to && version !== live.version ? ['<-'] : []),
    ].join(' ')
  }
  const rows = versions.map((v) => [
    v.version,
    v.published.slice(0, 19).replace('T', ' '),
    v.description,
    mark(v.version),
  ])
  return table(['version', 'published', 'description', 'alias'], rows)
}

function sentence(from: string, to: string, stays: boolean, moved: boolean): string {
  if (stays) return `${ALIAS} is at version ${to} already`
  return moved ? `${ALIAS} went from version ${from} to ${to}` : `${ALIAS} would go from version ${from} to ${to}`
}
