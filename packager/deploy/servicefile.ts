import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Document, parseDocument } from 'yaml'
import { AppError } from '../../src/errors.ts'

/** What commands beside osls read of a serverless.yml. */
export interface ServiceFile {
  readonly service: string
  readonly stage: string
  readonly region: string
  /** name → folder, as custom.modelayer.models has it */
  readonly models: Readonly<Record<string, string>>
}

const NAMES = ['serverless.yml', 'serverless.yaml'] as const

interface Whole {
  readonly custom?: { readonly modelayer?: { readonly models?: unknown } | null } | null
}

/** Aliases are resolved here, and may be wrong or far too many. */
function readWhole(document: Document.Parsed): { fault?: Error; whole?: Whole | null } {
  const [fault] = document.errors
  if (fault) return { fault }
  try {
    return { whole: document.toJS() as Whole | null }
  } catch (e) {
    return { fault: e as Error }
  }
}

/** @throws {AppError} USAGE */
export function readServiceFile(dir: string): ServiceFile {
  const path = NAMES.map((name) => join(dir, name)).find(existsSync)
  const fix = 'Name a folder with one, or the function: --function NAME.'
  if (path === undefined) throw new AppError('USAGE', { where: dir, expected: 'a serverless.yml', got: 'none', fix })
  const document = parseDocument(readFileSync(path, 'utf8'))
  const { fault, whole } = readWhole(document)
  if (fault)
    throw new AppError('USAGE', { where: path, expected: 'YAML', got: fault.message.split('\n')[0], cause: fault })
  const text = (at: readonly string[], fallback?: string): string => {
    const found: unknown = document.getIn(at) ?? fallback
    if (typeof found === 'string' && !found.includes('${')) return found
    const got = typeof found === 'string' ? 'a variable, which only osls resolves' : typeof found
    throw new AppError('USAGE', { where: `${path}: ${at.join('.')}`, expected: 'a plain text', got, fix })
  }
  const models = whole?.custom?.modelayer?.models
  return {
    service: text(['service']),
    get stage() {
      return text(['provider', 'stage'], 'dev')
    },
    get region() {
      return text(['provider', 'region'], 'us-east-1')
    },
    models: typeof models === 'object' && models !== null ? (models as Record<string, string>) : {},
  }
}
