import { createHash } from 'node:crypto'
import { AppError } from '../errors.ts'
import type { Names, ObjectRef, ResultFormat } from './types.ts'

/** `s3://bucket/prefix/`, or a folder. The prefix is empty or ends with a slash. */
export interface Place {
  readonly bucket: string
  readonly prefix: string
}

export function parsePlace(text: string): Place {
  const match = /^s3:\/\/([^/]+)\/?(.*)$/s.exec(text)
  if (!match)
    throw new AppError('BAD_EVENT', { where: 'a place of objects', expected: 's3://bucket/prefix/', got: 'another' })
  const prefix = match[2]!
  return { bucket: match[1]!, prefix: prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/` }
}

export function parseRef(text: string): ObjectRef {
  const match = /^s3:\/\/([^/]+)\/(.+)$/s.exec(text)
  if (!match) throw new AppError('BAD_EVENT', { where: 'an object', expected: 's3://bucket/key', got: 'another' })
  return { bucket: match[1]!, key: match[2]! }
}

/**
 * Writing where one reads starts the next run with the results of the last, and so on. Checked when a stack is packaged and
 * deployed, and again by each run.
 * @throws {AppError} BATCH_OVERLAP
 */
export function refuseOverlap(input: Place, output: Place): void {
  const nested = input.prefix.startsWith(output.prefix) || output.prefix.startsWith(input.prefix)
  if (input.bucket !== output.bucket || !nested) return
  throw new AppError('BATCH_OVERLAP', {
    where: `output ${output.bucket}/${output.prefix}`,
    expected: 'a place outside the input',
    got: `input ${input.bucket}/${input.prefix}`,
    fix: 'Use another bucket, or two prefixes of which none begins with the other.',
  })
}

/** Twelve hex digits for what a result is made from: the same input, model and options are the same run. */
export function runDigest(parts: Readonly<Record<string, unknown>>): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12)
}

const OWN = /\.[0-9a-f]{12}\.(done|state|hand|failed|err)?\.?(json|jsonl|csv|npy|parquet)$/

/** Below the output prefix: what a Distributed Map writes about its items. */
export const MAP_RUNS = 'map-runs/'
const MAP_RUN = /(^|\/)map-runs\/[0-9a-f-]{36}\/(manifest|(SUCCEEDED|FAILED|PENDING)_\d+)\.json$/

/** Why a key is no input, or undefined. */
export function whyNot(key: string, size: number | undefined): string | undefined {
  if (key.endsWith('/')) return 'a folder'
  if (size === 0) return 'an empty object'
  if (OWN.test(key) || key.startsWith('infer-result-') || key.endsWith('_result.txt') || MAP_RUN.test(key))
    return 'a result of a batch'
  return undefined
}

/** The key below the input's place, where it lies there. */
export function keyBelow(input: Place | undefined, { bucket, key }: ObjectRef): string {
  return input && bucket === input.bucket && key.startsWith(input.prefix) ? key.slice(input.prefix.length) : key
}

/** Every object that a run writes. The result's name is its format's affair. */
export function outputsOf(bucket: string, names: Names, format: ResultFormat) {
  const base = `${names.prefix}${names.key}.${names.run}`
  return {
    result: { bucket, key: format.key(names) },
    errors: { bucket, key: `${base}.err.jsonl` },
    state: { bucket, key: `${base}.state.json` },
    done: { bucket, key: `${base}.done.json` },
  } as const
}
