import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Place } from '../../src/batch/names.ts'
import { RESULT_FORMATS, type ResultName } from '../../src/batch/results/index.ts'
import type { Item, Job } from '../../src/batch/run.ts'
import type { BatchOptions } from '../../src/batch/setup.ts'
import type { ObjectStore } from '../../src/batch/types.ts'
import { AppError } from '../../src/errors.ts'
import { parseJson } from '../../src/json.ts'
import type { Progress, Summary } from '../batch/local.ts'
import { type Command, flag, type Input, integer, many, one } from './command.ts'
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
    {
      flags: '--web-source <host>',
      text: 'lists may name files of this host: example.com, *.example.com, http://server:port',
      repeat: true,
    },
    { flags: '--join', text: 'write each record beside its answer' },
    { flags: '--job <name>', text: 'name of the list of all results, where the format has one', default: 'batch' },
    { flags: '--max-rows <n>', text: 'most rows of one run of the graph; 1 switches stacking off (default: 256)' },
    { flags: '--name <name>', text: 'name of the model' },
    { flags: '--version <n>', text: 'which version, where there are several (default: the newest)' },
    { flags: '--threads <n>', text: 'CPUs that decode and predict (default: all)' },
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
      const { openPlaces } = await import('../batch/places.ts')
      const store = await storeOf(many(input, 'webSource'))
      const dry = flag(input, 'dryRun')
      const { item, ...places } = await openPlaces(store, from, to, { make: !dry })
      // what cannot be listed is told before a model is imported
      const items = dry ? [] : item ? [item] : await listed(store, places.input, io)
      const job = { ...(await jobFor(source, root, store, input, io)), ...places }
      if (dry) {
        await dryRun(job, item, input, io)
        return 0
      }
      const { summary, stopped } = await answer(job, items, one(input, 'only') === 'FAILED', io)
      const { writeManifest } = await import('../batch/local.ts')
      const manifest = stopped ? undefined : await writeManifest(job, one(input, 'job')!)
      tellErrors(summary, io)
      await tellFailure(job, summary, io)
      tellSkipped(summary, io)
      io.result({ ...summary, ...(manifest && { manifest }) }, textOf(summary, stopped, to))
      return summary.counts.failed + summary.errors.length + summary.objects.open > 0 ? 1 : 0
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  },
}

async function jobFor(
  source: string,
  root: string,
  store: ObjectStore,
  input: Input,
  io: Reporter,
): Promise<Omit<Job, 'input' | 'output'>> {
  const { openStore } = await import('../../src/models.ts')
  const { isSmall, jobOf, threadsOf } = await import('../../src/batch/setup.ts')
  const { projectRoot } = await import('../root.ts')
  const { version } = await import('../version.ts')
  const named = { name: one(input, 'name'), version: one(input, 'version') }
  const { roots } = await stage(await localSource(source, io), root, named, io)
  const cpus = integer(input, 'threads', { min: 1, max: 64 }) ?? availableParallelism()
  const models = openStore({ roots })
  const options = optionsOf(input)
  const job = jobOf(models, store, options, version())
  const file = join(projectRoot(), 'build', 'thread.mjs')
  if (isSmall(job.model)) return { ...job, ...threadsOf(job.model, { file, roots, cpus }) }
  return jobOf(openStore({ roots, threads: cpus }), store, options, version())
}

function optionsOf(input: Input): BatchOptions {
  const rule = one(input, 'mappingRule')
  const header = one(input, 'header')
  if (header !== undefined && header !== 'yes' && header !== 'no')
    throw new AppError('USAGE', { where: '--header', expected: 'yes or no', got: `'${header}'` })
  return {
    result: one(input, 'result') as ResultName,
    format: one(input, 'format'),
    ...(rule !== undefined && { mappingRule: parseJson(readRule(rule), rule) }),
    ...(header !== undefined && { header: header === 'yes' }),
    idField: one(input, 'idField'),
    ...(many(input, 'webSource').length > 0 && { webSources: many(input, 'webSource') }),
    inputFilter: one(input, 'inputFilter'),
    outputFilter: one(input, 'outputFilter'),
    ...(flag(input, 'join') && { joinSource: 'Input' as const }),
    maxRows: integer(input, 'maxRows', { min: 1, max: 65_536 }),
  }
}

function readRule(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    const got = (cause as NodeJS.ErrnoException).code
    throw new AppError('USAGE', { where: '--mapping-rule', expected: 'a file of JSON', got, cause })
  }
}

/** Folders, S3 and the web behind one door: a bucket that is a path is a folder. */
async function storeOf(webSources: readonly string[]): Promise<ObjectStore> {
  const { createFolderStore } = await import('../../src/batch/foldstore.ts')
  const { createS3Store } = await import('../../src/batch/s3store.ts')
  const { reliable } = await import('../../src/batch/reliable.ts')
  const { webAccess } = await import('../../src/batch/webaccess.ts')
  const { withWeb } = await import('../../src/batch/withweb.ts')
  const { readBatchSettings } = await import('../../src/boot.ts')
  // what cannot be meant is told now, and not for each record
  webAccess(webSources)
  const folder = createFolderStore()
  const s3 = createS3Store(readBatchSettings())
  const of = (bucket: string) => (bucket.startsWith('/') ? folder : s3)
  const both: ObjectStore = {
    stat: (ref) => of(ref.bucket).stat(ref),
    read: (ref, o) => of(ref.bucket).read(ref, o),
    file: (info) => of(info.bucket).file?.(info),
    list: (bucket, prefix, after) => of(bucket).list(bucket, prefix, after),
    put: (ref, bytes, o) => of(ref.bucket).put(ref, bytes, o),
    remove: (ref) => of(ref.bucket).remove(ref),
    upload: (ref, o) => of(ref.bucket).upload(ref, o),
  }
  return reliable(withWeb(both, webSources))
}

async function listed(store: ObjectStore, { bucket, prefix }: Place, io: Reporter): Promise<Item[]> {
  const { itemOf } = await import('../batch/places.ts')
  return io.step('List', async (progress) => {
    const items: Item[] = []
    for await (const info of store.list(bucket, prefix)) items.push(itemOf(info))
    progress(`${items.length} objects`)
    if (items.length > 0) return items
    const where = bucket.startsWith('/') ? bucket : `s3://${bucket}/${prefix}`
    throw new AppError('USAGE', { where, expected: 'files to answer', got: 'none' })
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
export function line({ objects, of, bytes, ofBytes, counts, before }: Progress, ms: number): string {
  const fresh = { records: counts.records - before.records, bytes: bytes - before.bytes }
  const share = ofBytes > 0 ? bytes / ofBytes : of > 0 ? objects / of : 1
  const full = Math.round(share * 10)
  const parts = [
    `${'█'.repeat(full)}${'░'.repeat(10 - full)} ${Math.floor(share * 100)} %`,
    `${counts.records.toLocaleString('en-US')} records`,
    `${Math.round((fresh.records / Math.max(ms, 1)) * 1000).toLocaleString('en-US')}/s`,
    ...(counts.failed > 0 ? [`${counts.failed.toLocaleString('en-US')} failed`] : []),
    `${objects} of ${of} objects`,
    ...(fresh.bytes > ofBytes / 100 && share < 1 ? [`${clock((ms / fresh.bytes) * (ofBytes - bytes))} left`] : []),
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

function tellErrors({ errors }: Summary, io: Reporter): void {
  for (const { key, code, reason } of errors.slice(0, SHOWN)) io.warn(`${key}: ${code} ${reason}`)
  if (errors.length > SHOWN) io.warn(`… and ${errors.length - SHOWN} more; --json lists all`)
}

/** One of the records that failed, since most often all do for the same reason. */
async function tellFailure({ store, output }: Job, { failure, counts }: Summary, io: Reporter): Promise<void> {
  if (!failure) return
  const { linesOf } = await import('../../src/batch/lines.ts')
  for await (const { bytes } of linesOf(store.read({ bucket: output.bucket, key: failure.errors }))) {
    const { record, code, reason } = JSON.parse(bytes.toString()) as { record: number; code: string; reason: string }
    const many = counts.failed > 1 ? `${counts.failed.toLocaleString('en-US')} records failed, as ` : ''
    io.warn(`${many}record ${record} of ${failure.key}: ${code} ${reason} All are named in *.err.jsonl.`)
    return
  }
}

function tellSkipped({ skipped }: Summary, io: Reporter): void {
  for (const { key, reason } of skipped.slice(0, SHOWN)) io.note(`skipped ${key}: ${reason}`)
  if (skipped.length > SHOWN) io.note(`… and ${skipped.length - SHOWN} more`)
}

function textOf({ counts, objects }: Summary, stopped: boolean, output: string): string {
  const { done, failed, earlier, skipped, open } = objects
  const states = { done, 'failed as a whole': failed, 'done earlier': earlier, skipped, 'not finished': open }
  const said = Object.entries(states).flatMap(([word, n]) => (n > 0 ? [`${n} ${word}`] : []))
  const end = stopped
    ? 'Stopped; the same command goes on from here.'
    : `Results are in ${output}${open > 0 ? '; the same command tries again what is not finished.' : ''}`
  return `${counts.records.toLocaleString('en-US')} records, ${counts.failed.toLocaleString('en-US')} failed; objects: ${said.join(', ')}.\n${end}`
}
