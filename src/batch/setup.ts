import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../errors.ts'
import { FETCH_FILE } from '../manifest.ts'
import type { Model, ModelStore } from '../models.ts'
import { shown } from '../shown.ts'
import { parsePlace, refuseOverlap } from './names.ts'
import { RESULT_FORMATS, type ResultName } from './results/index.ts'
import type { Job } from './run.ts'
import { createThreads } from './threads.ts'
import type { InputOptions, ObjectStore, OutputOptions } from './types.ts'

/** What a deployment says about batches, as texts of the environment. */
export interface BatchSettings {
  /** `s3://bucket/prefix/` */
  readonly input?: string
  readonly output?: string
  /** JSON of {@link BatchOptions} */
  readonly options?: string
  readonly endpoint?: string
  /** of another SQS than that of AWS */
  readonly queueEndpoint?: string
  readonly region?: string
  readonly functionName?: string
  readonly taskRoot: string
}

/** What users may choose; also the options of the command line. */
export interface BatchOptions extends InputOptions, OutputOptions {
  readonly model?: string
  readonly version?: string
  readonly result?: ResultName
  readonly format?: string
  readonly maxRows?: number
  readonly maxReceives?: number
}

const KNOWN = {
  model: 'string',
  version: 'string',
  result: 'string',
  format: 'string',
  maxRows: 'number',
  maxReceives: 'number',
  mappingRule: 'object',
  header: 'boolean',
  inputFilter: 'string',
  idField: 'string',
  maxRecordBytes: 'number',
  outputFilter: 'string',
  joinSource: 'string',
  webSources: 'object',
} as const satisfies Record<keyof BatchOptions, string>

export const MAX_ROWS = 256

/** @throws {AppError} USAGE: unknown options are errors */
export function readOptions(text: string | undefined): BatchOptions {
  if (text === undefined) return {}
  const fail = (where: string, expected: string, got: string, cause?: unknown) =>
    new AppError('USAGE', { where: `MODELAYER_BATCH_OPTIONS${where}`, expected, got, cause })
  let options: Record<string, unknown> | null
  try {
    options = JSON.parse(text)
  } catch (cause) {
    throw fail('', 'JSON', 'another text', cause)
  }
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw fail('', 'an object in JSON', shown(options))
  for (const [name, value] of Object.entries(options)) {
    const kind = Object.hasOwn(KNOWN, name) ? KNOWN[name as keyof typeof KNOWN] : undefined
    if (kind === undefined) throw fail('', Object.keys(KNOWN).join(', '), name.slice(0, 40))
    if (typeof value !== kind || value === null)
      throw fail(`.${name}`, `a ${kind}`, value === null ? 'null' : `a ${typeof value}`)
    if (typeof value === 'number' && !(Number.isInteger(value) && value > 0))
      throw fail(`.${name}`, 'an integer from 1', `${value}`)
  }
  const { result, webSources = [] } = options
  if (!Array.isArray(webSources) || !webSources.every((s) => typeof s === 'string'))
    throw fail('.webSources', 'a list of hosts', 'another value')
  if (result !== undefined && !Object.hasOwn(RESULT_FORMATS, result as string))
    throw fail('.result', Object.keys(RESULT_FORMATS).join(', '), 'another')
  return options as BatchOptions
}

/** A job without its places, which a folder or an event may give. */
export function jobOf(
  models: ModelStore,
  store: ObjectStore,
  options: BatchOptions,
  code: string,
): Omit<Job, 'input' | 'output'> {
  const { model, version, result, format, maxRows, maxReceives: _, outputFilter, joinSource, ...inputOptions } = options
  return {
    store,
    model: models.get(model, version),
    code,
    result: result ?? 'jsonl',
    inputOptions,
    outputOptions: { outputFilter, joinSource },
    format,
    maxRows: maxRows ?? MAX_ROWS,
  }
}

export interface ThreadPlaces {
  /** bundle of functions/thread.ts */
  readonly file: string
  /** as the model's store has them */
  readonly roots: readonly string[]
  readonly cpus: number
}

/** Each thread loads the model anew; one that is larger gets the CPUs for the operators of one graph instead. */
const SMALL_MODEL = 128 * 2 ** 20

export function isSmall({ dir }: Model): boolean {
  if (existsSync(join(dir, FETCH_FILE))) return false
  const files = readdirSync(dir, { withFileTypes: true, recursive: true }).filter((f) => f.isFile())
  return files.reduce((n, f) => n + statSync(join(f.parentPath, f.name)).size, 0) <= SMALL_MODEL
}

/** A thread for each CPU, where there are several and the model is small. */
export function threadsOf(model: Model, { file, roots, cpus }: ThreadPlaces): Pick<Job, 'threads'> {
  if (cpus < 2 || !existsSync(file) || !isSmall(model)) return {}
  const { model: name, version } = model.manifest
  return { threads: createThreads(file, cpus, { roots, model: name, version }) }
}

/** The places of a deployment. @throws {AppError} BATCH_OVERLAP, USAGE */
export function placesOf({ input, output }: BatchSettings): Pick<Job, 'input' | 'output'> {
  if (output === undefined)
    throw new AppError('USAGE', {
      where: 'MODELAYER_BATCH_OUTPUT',
      expected: 's3://bucket/prefix/',
      got: 'no such variable',
    })
  const places = { output: parsePlace(output), ...(input !== undefined && { input: parsePlace(input) }) }
  if (places.input) refuseOverlap(places.input, places.output)
  return places
}

/** Of the function's own file, which is all of its code. */
export function codeDigest({ taskRoot }: Pick<BatchSettings, 'taskRoot'>): string {
  const file = join(taskRoot, 'batch.js')
  if (!existsSync(file)) return 'source'
  return createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 16)
}
