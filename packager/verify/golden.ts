import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { answerDifferences, textOf } from '../../src/golden/check.ts'
import { type Difference, parseBody, type Tolerance } from '../../src/golden/compare.ts'
import type { HttpRequest, HttpResponse } from '../../src/types.ts'
import { table } from '../cli/table.ts'
import { readGoldens } from './golden-file.ts'
import { encodeRequest, fileReader, type SavedRequest } from './request.ts'

/** Anything that answers requests: the app in this process, the sandbox, a deployed function. */
export interface Answering {
  handle(request: HttpRequest): Promise<HttpResponse>
}

export interface GoldenResult {
  readonly name: string
  readonly status: number
  readonly ms: number
  readonly differences: readonly Difference[]
}

/** Files may be named relative to the golden folder, and lie anywhere in the package. */
export interface GoldenOptions {
  readonly root?: string
  readonly onResult?: (done: number, of: number) => void
}

/** Sends every golden request, in the order of their names. */
export async function runGolden(app: Answering, dir: string, options: GoldenOptions = {}): Promise<GoldenResult[]> {
  const goldens = readGoldens(dir)
  const results: GoldenResult[] = []
  for (const golden of goldens) {
    const start = performance.now()
    const answer = await send(app, golden.request, golden.name, dir, options.root ?? dirname(dir))
    const ms = performance.now() - start
    const found = answerDifferences(golden.expected, answer, golden.tolerance)
    results.push({ name: golden.name, status: answer.status, ms, differences: found })
    options.onResult?.(results.length, goldens.length)
  }
  return results
}

/** Writes what the app answers now. Only answers of status 200 are worth keeping as they are. */
export async function recordGolden(
  app: Answering,
  requests: readonly { readonly name: string; readonly request: SavedRequest }[],
  dir: string,
  options: GoldenOptions & { readonly tolerance?: Tolerance } = {},
): Promise<string[]> {
  const written: string[] = []
  for (const { name, request } of requests) {
    checkName(name)
    const { status, body } = await send(app, request, name, dir, options.root ?? dirname(dir))
    if (status !== 200) {
      throw new AppError('BAD_GOLDEN', {
        where: name,
        expected: 'an answer with status 200',
        got: `${status}: ${body.slice(0, 300)}`,
      })
    }
    const golden = { request, expected: { status, body: parseBody(body) }, tolerance: options.tolerance ?? RECORDED }
    mkdirSync(dir, { recursive: true })
    writeFileSync(join(dir, `${name}.json`), `${JSON.stringify(golden, null, 2)}\n`)
    written.push(join(dir, `${name}.json`))
  }
  return written
}

/** float32 sums in another order, on another processor */
export const RECORDED: Tolerance = { rtol: 1e-4, atol: 1e-5, numericStrings: false }

/** How a file is named in a golden request: relative, and with `/` on every system. */
export const namedFrom = (dir: string, file: string) => relative(dir, file).split(sep).join('/')

async function send(app: Answering, request: SavedRequest, name: string, dir: string, root: string) {
  const { path, contentType, body } = encodeRequest(request, fileReader(dir, root))
  const headers = { 'content-type': contentType, 'content-length': String(body.length) }
  const answer = await app.handle({ method: 'POST', path, query: '', headers, body, requestId: `golden-${name}` })
  return { status: answer.status, body: textOf(answer.body) }
}

function checkName(name: string): void {
  if (/^[\w][\w.-]{0,80}$/.test(name)) return
  throw new AppError('USAGE', {
    where: 'the name of a golden request',
    expected: 'letters, digits, _ - .',
    got: `'${name}'`,
  })
}

/** Places that differ, a row each; the first ones are enough to see what is wrong. */
export function renderDifferences(results: readonly GoldenResult[], most = 20): string {
  const rows = results.flatMap((r) =>
    r.differences.map((d) => [
      r.name,
      d.pointer,
      d.expected,
      d.actual,
      d.off === undefined ? '' : d.off.toExponential(1),
    ]),
  )
  const shown = table(['golden', 'at', 'expected', 'actual', 'off by'], rows.slice(0, most))
  return rows.length > most ? `${shown}\n… and ${rows.length - most} more` : shown
}

/** The gate of `package`: every answer is reproduced, or nothing is built. */
export function goldenError(results: readonly GoldenResult[]): AppError | undefined {
  const failed = results.filter((r) => r.differences.length > 0)
  if (failed.length === 0) return undefined
  const got = `${failed.length} of ${results.length} differ\n${renderDifferences(failed)}\n`
  return new AppError('GOLDEN_DIFFERS', { got, data: { results } })
}
