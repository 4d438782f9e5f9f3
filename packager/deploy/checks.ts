import { AppError } from '../../src/errors.ts'
import { nearest } from '../../src/nearest.ts'
import { shown } from '../../src/shown.ts'
import type { S3Place } from './options.ts'

export type Raw = Readonly<Record<string, unknown>>

const ROOT = 'custom.modelayer'

export function object(v: unknown, where: string, keys?: readonly string[]): Raw {
  if (typeof v !== 'object' || v === null || Array.isArray(v))
    throw usage(where, 'an object', v === undefined ? 'nothing' : typeof v)
  const unknown = keys && Object.keys(v).find((k) => !keys.includes(k))
  if (!unknown) return v as Raw
  const meant = nearest(unknown, keys)
  throw usage(where, keys.join(', '), `'${unknown}'`, meant ? `Did you mean ${meant}?` : undefined)
}

export function choice<const T extends string>(v: unknown, where: string, all: readonly T[], fallback: T): T {
  if (v === undefined) return fallback
  const found = all.find((a) => a === v)
  if (found) return found
  throw usage(where, all.join(', '), shown(v))
}

export function integer(v: unknown, where: string, low: number, high: number, fallback?: number): number {
  if (v === undefined && fallback !== undefined) return fallback
  if (typeof v === 'number' && Number.isInteger(v) && v >= low && v <= high) return v
  throw usage(where, `an integer from ${low} to ${high}`, v === undefined ? 'nothing' : shown(v))
}

export function flag(v: unknown, where: string, fallback: boolean): boolean {
  if (v === undefined) return fallback
  if (typeof v === 'boolean') return v
  throw usage(where, 'true or false', shown(v))
}

export function text(v: unknown, where: string, pattern: RegExp, form: string): string | undefined {
  if (v === undefined) return undefined
  if (typeof v === 'string' && pattern.test(v)) return v
  throw usage(where, form, typeof v === 'string' ? 'another form' : typeof v)
}

export function strings(v: unknown, where: string): string[] {
  if (Array.isArray(v) && v.length > 0 && v.every((s) => typeof s === 'string')) return v as string[]
  throw usage(where, 'a list of texts', v === undefined ? 'nothing' : 'another value')
}

export function place(v: unknown, where: string): S3Place {
  const [, bucket, rest] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(shown(v)) ?? []
  if (bucket === undefined) throw usage(where, 's3://BUCKET/PREFIX/', typeof v === 'string' ? 'another form' : typeof v)
  return { bucket, prefix: rest ? rest.replace(/\/*$/, '/') : '' }
}

export function usage(where: string, expected: string, got: string, fix?: string): AppError {
  return new AppError('USAGE', { where: where === '' ? ROOT : `${ROOT}.${where}`, expected, got, fix })
}
