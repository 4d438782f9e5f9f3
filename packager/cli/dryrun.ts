import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Item, Job } from '../../src/batch/run.ts'
import type { ObjectInfo } from '../../src/batch/types.ts'
import { AppError } from '../../src/errors.ts'
import type { Plan, Setting } from '../batch/plan.ts'
import type { Measured } from '../batch/sample.ts'
import type { Survey } from '../batch/survey.ts'
import { flag, type Input, integer, one } from './command.ts'
import type { Reporter } from './reporter.ts'
import { bytes, table } from './table.ts'

export const DRY_RUN = [
  {
    flags: '--dry-run',
    text: 'answer nothing: say what there is, how long it takes here and in Lambda, and what it costs',
  },
  { flags: '--sample <seconds>', text: 'of a dry run: how long objects are answered to measure (default: 10)' },
  { flags: '--earlier', text: 'of a dry run: measure by the .done.json of earlier runs below the output instead' },
  { flags: '--memory <mb>', text: 'of a dry run: of the function (default: 1769)' },
  { flags: '--arch <arch>', text: 'of a dry run: of the function', choices: ['arm64', 'x64'], default: 'arm64' },
  { flags: '--timeout <seconds>', text: 'of a dry run: of the function (default: 900)' },
  { flags: '--concurrency <n>', text: "of a dry run: the account's concurrent executions (default: 1000)" },
  { flags: '--prefixes <n>', text: 'of a dry run: prefixes whose request rates S3 counts apart (default: 1)' },
  { flags: '--region <name>', text: 'of a dry run: whose prices (default: AWS_REGION)' },
] as const

/** What keeps it from being faster. */
const BOUND = {
  concurrency: 'more at once would be faster',
  starts: 'Step Functions starts no more a second',
  'S3 reads': 'S3 answers no more a second (--prefixes)',
  'S3 writes': 'S3 takes no more a second (--prefixes)',
  objects: 'all batches at once',
} as const satisfies Record<Plan['bound'], string>

/** so many `.done.json` are read to know a rate */
const EARLIER = 1000

/** What a batch would be, measured and not done: nothing is written but below a temporary folder. */
export async function dryRun(job: Job, item: Item | undefined, input: Input, io: Reporter): Promise<void> {
  const { pricesOf, PRICES_AS_OF } = await import('../batch/prices.ts')
  const { readBatchSettings } = await import('../../src/boot.ts')
  const { plan } = await import('../batch/plan.ts')
  const { rateOf } = await import('../batch/sample.ts')
  const { ASSUMED } = await import('../batch/quotas.ts')

  const found = await surveyed(job, item, io)
  const region = one(input, 'region') ?? readBatchSettings().region
  const { of, prices } = pricesOf(region)
  if (of !== region) io.warn(`no prices of ${region ?? 'a region that nobody named'} here; those of ${of} are used`)
  const setting: Setting = {
    memory: integer(input, 'memory', { min: 128, max: 10_240 }) ?? ASSUMED.vcpuMemory,
    arch: one(input, 'arch') as 'arm64' | 'x64',
    timeout: integer(input, 'timeout', { min: 30, max: 900 }) ?? 900,
    concurrency: integer(input, 'concurrency', { min: 1, max: 1_000_000 }) ?? 1000,
    prefixes: integer(input, 'prefixes', { min: 1, max: 10_000 }) ?? 1,
    keyBytes: found.keyBytes,
    prices,
  }
  const measured = flag(input, 'earlier') ? await earlier(job, found, io) : await sampled(job, found, input, io)
  const work = Object.entries(found.formats).map(([name, f]) => ({ ...f, rate: rateOf(measured[name]!) }))
  const lambda = plan(work, setting)
  const here = { seconds: localSeconds(found, measured) }
  const start = startCommand(job, lambda)
  if (lambda.runs > 1)
    io.warn(`one run of a map holds 100,000,000 objects: start ${lambda.runs} over parts of the prefix`)
  const formats = Object.fromEntries(
    Object.entries(found.formats).map(([name, { sample: _, ...f }]) => [name, { ...f, measured: measured[name] }]),
  )
  const { prices: __, ...said } = setting
  io.result(
    {
      dryRun: true,
      formats,
      skipped: found.skipped,
      here,
      lambda,
      setting: said,
      assumed: ASSUMED,
      prices: { of, asOf: PRICES_AS_OF },
      start,
    },
    [
      listing(found, measured),
      '',
      `Here          ${clock(here.seconds)}`,
      `In Lambda     ${clock(lambda.wallSeconds)} with ${setting.memory} MB on ${setting.arch}, ${count(lambda.concurrency)} at once: ${BOUND[lambda.bound]}`,
      `Cost          ${costOf(lambda)}; list prices of ${of}, ${PRICES_AS_OF}`,
      `Batches       ${count(lambda.batches)} of ${count(lambda.items)} objects, about ${clock(lambda.secondsPerBatch)} each; ${lambda.tolerated} % of the objects may fail`,
      '',
      `Assumed: a vCPU of Lambda as fast as this processor, ${ASSUMED.requestMs} ms for a request to S3. docs/scaling.md has the arithmetic.`,
      ...(start === undefined
        ? []
        : ['', 'With batch.map deployed (serverless info --verbose says BatchMapArn):', start]),
    ].join('\n'),
  )
}

async function surveyed({ store, input, format }: Job, item: Item | undefined, io: Reporter): Promise<Survey> {
  const { survey } = await import('../batch/survey.ts')
  const { bucket, prefix } = input!
  const listing = item ? alone(store, item) : store.list(bucket, prefix)
  return io.step('List', async (progress) => {
    const told = (n: number, size: number) => progress(`${count(n)} objects, ${bytes(size)}`)
    const found = await survey(listing, { format, told })
    if (Object.keys(found.formats).length > 0) return found
    const reasons = Object.entries(found.skipped).map(([reason, n]) => `${n} skipped: ${reason}`)
    const got = reasons.join('; ') || 'none'
    throw new AppError('USAGE', { where: `${bucket}/${prefix}`, expected: 'files to answer', got })
  })
}

async function* alone(store: Job['store'], item: Item): AsyncGenerator<ObjectInfo> {
  const info = await store.stat(item)
  if (info) yield info
}

async function sampled(job: Job, { formats }: Survey, input: Input, io: Reporter): Promise<Record<string, Measured>> {
  const { measure } = await import('../batch/sample.ts')
  const all = Object.entries(formats)
  const ms = ((integer(input, 'sample', { min: 1, max: 3600 }) ?? 10) * 1000) / all.length
  const scratch = mkdtempSync(join(tmpdir(), 'modelayer-sample-'))
  try {
    const measured: Record<string, Measured> = {}
    for (const [name, found] of all) {
      const m = await io.step(`Measure ${name}`, () => measure(job, found, ms, join(scratch, name)))
      if (m.bytes === 0 || m.records === 0)
        throw new AppError('USAGE', {
          where: `--sample, type ${name}`,
          expected: 'time for a record',
          got: `none within ${Math.round(ms / 1000)} s`,
          fix: 'Give more seconds to --sample.',
        })
      measured[name] = m
    }
    return measured
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function earlier(job: Job, { formats }: Survey, io: Reporter): Promise<Record<string, Measured>> {
  const { measuredBefore } = await import('../batch/sample.ts')
  const { donesOf } = await import('../../src/batch/replay.ts')
  const found = await io.step('Read earlier runs', () => measuredBefore(donesOf(job), EARLIER))
  const missing = Object.keys(formats).filter((name) => !Object.hasOwn(found, name))
  if (missing.length === 0) return found
  throw new AppError('USAGE', {
    where: '--earlier',
    expected: `.done.json of ${missing.join(', ')} below the output`,
    got: 'none',
    fix: 'Leave --earlier away to measure some objects here.',
  })
}

/** By the same commands on this machine. */
function localSeconds({ formats }: Survey, measured: Readonly<Record<string, Measured>>): number {
  return Object.entries(formats).reduce((s, [name, f]) => {
    const { wallMs, bytes: part } = measured[name]!
    return s + ((wallMs / Math.max(part, 1)) * f.bytes) / 1000
  }, 0)
}

function listing({ formats, skipped }: Survey, measured: Readonly<Record<string, Measured>>): string {
  const rows = Object.entries(formats).map(([name, f]) => {
    const m = measured[name]!
    const rate = `${count(Math.round((m.records / m.wallMs) * 1000))} records/s`
    return [name, f.objects, bytes(f.bytes), bytes(f.largest), `${count(m.objects)} objects by ${m.from}`, rate]
  })
  const left = Object.entries(skipped).map(([reason, n]) => `Skipped       ${count(n)}: ${reason}`)
  return [
    table(['type', 'objects', 'bytes', 'largest', 'measured', 'here'], rows),
    ...(left.length > 0 ? ['', ...left] : []),
  ].join('\n')
}

function costOf({ cost }: Plan): string {
  const money = (n: number) => `$${n < 0.01 && n > 0 ? '<0.01' : n.toFixed(2)}`.replace('$<', '<$')
  return `${money(cost.total)} (Lambda ${money(cost.lambda)}, S3 ${money(cost.s3)}, Step Functions ${money(cost.stepFunctions)})`
}

/** What a plan changes of the deployed map, which has defaults of its own. */
function startCommand({ input }: Job, { items, concurrency, tolerated }: Plan): string | undefined {
  if (input!.bucket.startsWith('/')) return undefined
  const { prefix } = input!
  const said = JSON.stringify({ prefix, items, concurrency, tolerated }).replaceAll("'", `'\\''`)
  return `aws stepfunctions start-execution --state-machine-arn "$BATCH_MAP_ARN" --input '${said}'`
}

const count = (n: number) => n.toLocaleString('en-US')

export function clock(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 120) return `${minutes} min`
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${(minutes / 1440).toFixed(1)} days`
}
