import { compile } from 'json-p3'
import type { CaptureOptions } from '../../src/capture/capture.ts'
import { shown } from '../../src/shown.ts'
import { choice, object, place, strings, usage } from './checks.ts'
import { bucketResources, objectsArn, type Resources, type Statement } from './resources.ts'

/** What the function is told, and what happens to the bucket with the stack. */
export interface DeployedCapture extends CaptureOptions {
  readonly onRemove: 'keep' | 'delete'
}

export function readCapture(raw: unknown): DeployedCapture {
  const o = object(raw, 'capture', ['output', 'percent', 'redact', 'bodies', 'files', 'onRemove'])
  return {
    ...place(o.output, 'capture.output'),
    percent: readPercent(o.percent),
    redact: o.redact === undefined ? [] : strings(o.redact, 'capture.redact').map(jsonPath),
    // what requests hold may be anybody's, so writing it down is asked for
    bodies: choice(o.bodies, 'capture.bodies', ['none', 'request', 'both'], 'none'),
    files: choice(o.files, 'capture.files', ['omit', 'hash', 'keep'], 'hash'),
    onRemove: choice(o.onRemove, 'capture.onRemove', ['keep', 'delete'], 'keep'),
  }
}

function readPercent(v: unknown): number {
  if (v === undefined) return 1
  if (typeof v === 'number' && v > 0 && v <= 100) return v
  throw usage('capture.percent', 'a number above 0, up to 100', shown(v))
}

function jsonPath(path: string, i: number): string {
  try {
    compile(path)
    return path
  } catch {
    const where = `capture.redact.${i}`
    throw usage(where, 'a JSONPath such as $.name', path.slice(0, 80), 'A name in all places: $..name')
  }
}

/** Writing, and below the prefix: the function cannot read what it wrote. */
export const captureStatements = (capture: CaptureOptions | undefined): Statement[] =>
  capture ? [{ Effect: 'Allow', Action: ['s3:PutObject'], Resource: objectsArn(capture) }] : []

export const captureResources = (capture: DeployedCapture | undefined): Resources =>
  capture ? bucketResources('Capture', capture, capture.onRemove, {}) : {}
