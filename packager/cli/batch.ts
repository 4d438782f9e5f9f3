import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import type { Place } from '../../src/batch/names.ts'
import { RESULT_FORMATS, type ResultName } from '../../src/batch/results/index.ts'
import type { Item, Job } from '../../src/batch/run.ts'
import type { BatchOptions } from '../../src/batch/setup.ts'
import type { ObjectStore } from '../../src/batch/types.ts'
import { AppError } from '../../src/errors.ts'
import { parseJson } from '../../src/json.ts'
import type { Progress, Summary } from '../batch/local.ts'
import { type Command, flag, type Input, integer, one } from './command.ts'
import { DRY_RUN, dryRun } from './dryrun.ts'
import type { Reporter } from './reporter.ts'
import { localSource } from './s3.ts'
import { stage } from './serve.ts'

export const batch: Command = {
  name: 'batch',
  summary: 'Answer every record of a folder of files, by the code that runs in Lambda.',
  text: [
    'Results lie below the output folder under the name of their input and a digest of its content, the model and the options, with',
    '.err.jsonl for the records that could not be answered and .done.json at the end. What is finished is left alone, and what was',
    'stopped by Ctrl-C or a crash goes on where it was. Input and output may be s3:// prefixes too.',
  ].join('\n'),
  args: [
    { name: '<model>', text: 'a package or a model, or a folder with modelayer.json' },
    { name: '<input>', text: 'a folder, a file, or an s3:// prefix' },
    { name: '<output>', text: 'a folder or an s3:// prefix outside of the input' },
  ],
  options: [
    {
      flags: '--result <format>',
      text: 'how results are written',
      default: 'jsonl',
      choices: Object.keys(RESULT_FORMATS),
    },
    { flags: '--only <what>', text: 'FAILED: answer again what the last run named', choices: ['FAILED'] },
    { flags: '--format <name>', text: 'file type of the input, where suffixes do not tell' },
    {
      flags: '--mapping-rule <file>',
      text: 'JSON: the request of the model with the index of a CSV column at each leaf',
    },
    { flags: '--header <yes|no>', text: 'the first line of a CSV names its columns (default: looked at)' },
    { flags: '--id-field <name>', text: 'the column or member that names a record' },
    { flags: '--input-filter <path>', text: 'JSONPath: the part of a record that the model sees' },
    { flags: '--output-filter <path>', text: 'JSONPath: the part of an answer that is written' },
    { flags: '--join', text: 'write each record beside its answer' },
    { flags: '--job <name>', text: 'name of the list of all results, where the format has one', default: 'batch' },
    { flags: '--max-rows <n>', text: 'most rows of one run of the graph; 1 switches stacking off (default: 256)' },
    { flags: '--name <name>', text: 'name of the model' },
    { flags: '--version <n>', text: 'which version, where there are several (default: the newest)' },
    { flags: '--threads <n>', text: 'threads of one inference (default: 1, as in a small function)' },
    ...DRY_RUN,
  ],
  examples: [
    'modelayer batch examples/mnist ./in ./out',
    'modelayer batch examples/iris rows.csv ./out --result csv --join',
    'modelayer batch examples/mnist ./in ./out --only FAILED',
    'modelayer batch examples/mnist s3://in/digits/ s3://out/ --dry-run',
  ],
  async run(input, io) {
    const [source, from, to] = input.args as [string, string, string]
    const { silenceTelemetry } = await import('../../src/boot.ts')
    silenceTelemetry()
    const root = mkdtempSync(join(tmpdir(), 'modelayer-batch-'))
    try {
      const { refuseOverlap } = await import('../../src/batch/names.ts')
      const inside = await placeOf(from)
      const output = await placeOf(to)
      refuseOverlap(slashed(inside.place), slashed(output.place))
      const dry = flag(input, 'dryRun')
      if (!dry && !to.startsWith('s3://')) mkdirSync(resolve(to), { recursive: true })
      const job = { ...(await jobFor(source, root, input, io)), input: inside.place, output: output.place }
      if (dry) {
        await dryRun(job, inside.item, input, io)
        return 0
      }
      const items = inside.item ? [inside.item] : await listed(job, inside.place, io)
      const { summary, stopped } = await answer(job, items, one(input, 'only') === 'FAILED', io)
      const { writeManifest } = await import('../batch/local.ts')
      const manifest = stopped ? undefined : await writeManifest(job, one(input, 'job')!)
      for (const { key, code, reason } of summary.errors) io.warn(`${key}: ${code} ${reason}`)
      tellSkipped(summary, io)
      io.result({ ...summary, ...(manifest && { manifest }) }, textOf(summary, stopped, to))
      return summary.counts.failed + summary.errors.length + summary.objects.open > 0 ? 1 : 0
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  },
}

/** Folders as buckets, so that keys are paths below them; a file alone is an item of its folder. */
export async function placeOf(text: string): Promise<{ place: Place; item?: Item }> {
  if (text.startsWith('s3://')) {
    const { parsePlace } = await import('../../src/batch/names.ts')
    return { place: parsePlace(text) }
  }
  const path = resolve(text)
  if (!existsSync(path) || statSync(path).isDirectory()) return { place: { bucket: path, prefix: '' } }
  const bucket = dirname(path)
  return { place: { bucket, prefix: '' }, item: { bucket, key: basename(path), size: statSync(path).size } }
}

/** One folder may be inside of the other: as places of one bucket they can be compared. */
function slashed(p: Place): Place {
  return p.bucket.startsWith('/') ? { bucket: '/', prefix: `${p.bucket.slice(1)}/` } : p
}

export async function jobFor(
  source: string,
  root: string,
  input: Input,
  io: Reporter,
): Promise<Omit<Job, 'input' | 'output'>> {
  const { openStore } = await import('../../src/models.ts')
  const { jobOf } = await import('../../src/batch/setup.ts')
  const { version } = await import('../version.ts')
  const named = { name: one(input, 'name'), version: one(input, 'version') }
  const { roots } = await stage(await localSource(source, io), root, named, io)
  const models = openStore({ roots, threads: integer(input, 'threads', { min: 1, max: 64 }) ?? 1 })
  return jobOf(models, await storeOf(), optionsOf(input), version())
}

function optionsOf(input: Input): BatchOptions {
  const rule = one(input, 'mappingRule')
  const header = one(input, 'header')
  if (header !== undefined && header !== 'yes' && header !== 'no')
    throw new AppError('USAGE', { where: '--header', expected: 'yes or no', got: `'${header}'` })
  return {
    result: one(input, 'result') as ResultName,
    format: one(input, 'format'),
    ...(rule !== undefined && { mappingRule: parseJson(readFileSync(rule), rule) }),
    ...(header !== undefined && { header: header === 'yes' }),
    idField: one(input, 'idField'),
    inputFilter: one(input, 'inputFilter'),
    outputFilter: one(input, 'outputFilter'),
    ...(flag(input, 'join') && { joinSource: 'Input' as const }),
    maxRows: integer(input, 'maxRows', { min: 1, max: 65_536 }),
  }
}

/** Folders and S3 behind one door: a bucket that is a path is a folder. */
async function storeOf(): Promise<ObjectStore> {
  const { createFolderStore } = await import('../../src/batch/foldstore.ts')
  const { createS3Store } = await import('../../src/batch/s3store.ts')
  const { reliable } = await import('../../src/batch/reliable.ts')
  const { readBatchSettings } = await import('../../src/boot.ts')
  const folder = createFolderStore()
  const s3 = createS3Store(readBatchSettings())
  const of = (bucket: string) => (bucket.startsWith('/') ? folder : s3)
  return reliable({
    stat: (ref) => of(ref.bucket).stat(ref),
    read: (ref, o) => of(ref.bucket).read(ref, o),
    list: (bucket, prefix, after) => of(bucket).list(bucket, prefix, after),
    put: (ref, bytes, o) => of(ref.bucket).put(ref, bytes, o),
    remove: (ref) => of(ref.bucket).remove(ref),
    upload: (ref, o) => of(ref.bucket).upload(ref, o),
  })
}

async function listed(job: Pick<Job, 'store'>, { bucket, prefix }: Place, io: Reporter): Promise<Item[]> {
  return io.step('List', async (progress) => {
    const items: Item[] = []
    for await (const { key, size, etag } of job.store.list(bucket, prefix)) items.push({ bucket, key, size, etag })
    progress(`${items.length} objects`)
    if (items.length > 0) return items
    throw new AppError('USAGE', { where: `${bucket}/${prefix}`, expected: 'files to answer', got: 'none' })
  })
}

/** Ctrl-C leaves a checkpoint; a second one ends at once. */
async function answer(job: Job, items: readonly Item[], onlyFailed: boolean, io: Reporter) {
  const { runLocal } = await import('../batch/local.ts')
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  try {
    const start = performance.now()
    const summary = await io.step('Answer', (detail) =>
      runLocal(job, {
        items,
        onlyFailed,
        signal: stop.signal,
        progress: (p) => detail(line(p, performance.now() - start)),
      }),
    )
    return { summary, stopped: stop.signal.aborted }
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
  }
}

/** `██████░░░░ 61 %  12,345 records  1,234/s  12 failed  3 of 5 objects  00:42 left` */
export function line({ objects, of, bytes, ofBytes, counts }: Progress, ms: number): string {
  const share = ofBytes > 0 ? bytes / ofBytes : of > 0 ? objects / of : 1
  const full = Math.round(share * 10)
  const parts = [
    `${'█'.repeat(full)}${'░'.repeat(10 - full)} ${Math.floor(share * 100)} %`,
    `${counts.records.toLocaleString('en-US')} records`,
    `${Math.round((counts.records / Math.max(ms, 1)) * 1000).toLocaleString('en-US')}/s`,
    ...(counts.failed > 0 ? [`${counts.failed.toLocaleString('en-US')} failed`] : []),
    `${objects} of ${of} objects`,
    ...(share > 0.01 && share < 1 ? [`${clock((ms / share) * (1 - share))} left`] : []),
  ]
  return parts.join('  ')
}

function clock(ms: number): string {
  const s = Math.round(ms / 1000)
  const two = (n: number) => String(n).padStart(2, '0')
  return s < 3600
    ? `${two(Math.floor(s / 60))}:${two(s % 60)}`
    : `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`
}

const SHOWN = 5

function tellSkipped({ skipped }: Summary, io: Reporter): void {
  for (const { key, reason } of skipped.slice(0, SHOWN)) io.note(`skipped ${key}: ${reason}`)
  if (skipped.length > SHOWN) io.note(`… and ${skipped.length - SHOWN} more`)
}

function textOf({ counts, objects }: Summary, stopped: boolean, output: string): string {
  const { done, failed, earlier, skipped, open } = objects
  const states = { done, 'failed as a whole': failed, 'done earlier': earlier, skipped, open }
  const said = Object.entries(states).flatMap(([word, n]) => (n > 0 ? [`${n} ${word}`] : []))
  const end = stopped ? 'Stopped; the same command goes on from here.' : `Results are in ${output}`
  return `${counts.records.toLocaleString('en-US')} records, ${counts.failed.toLocaleString('en-US')} failed; objects: ${said.join(', ')}.\n${end}`
}
