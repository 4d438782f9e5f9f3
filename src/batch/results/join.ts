import { parseCsv } from '../../csv.ts'
import { AppError } from '../../errors.ts'
import { stringify } from '../../json.ts'
import { type Select, selector } from '../jsonpath.ts'
import type { Result, WriteContext } from '../types.ts'
import { cellsOf, quoted } from './cells.ts'

/**
 * A line for each answered record. With JoinSource the record stands before its prediction: in CSV the prediction's cells follow
 * those of the row; in JSON it is the member `SageMakerOutput`, beside the record's own, or beside `SageMakerInput` where the record
 * is no object. The filter sees what is joined.
 */
export async function joiner(context: WriteContext, as: 'csv' | 'source'): Promise<(r: Result) => string> {
  const { options, format } = context
  const filter = await selector(options.outputFilter, 'outputFilter')
  const join = options.joinSource === 'Input'
  const fromCsv = format === 'csv' || format.startsWith('csv.')
  if (as === 'csv' || fromCsv) return (r) => (r.ok ? `${csvLine(r, join, fromCsv, filter)}\n` : '')
  return (r) => {
    if (!r.ok) return ''
    const joined = join ? joinJson(r) : r.body
    return `${stringify(filter ? filtered(filter, joined) : joined)}\n`
  }
}

type Answered = Result & { readonly ok: true }

function csvLine(r: Answered, join: boolean, fromCsv: boolean, filter: Select | undefined): string {
  if (!join) return cellsOf(filter ? filtered(filter, r.body) : r.body).join(',')
  // a record that is no row of CSV is called by its name
  const source = fromCsv && r.source !== undefined ? r.source : quoted(r.id)
  if (!filter) return [source, ...cellsOf(r.body)].join(',')
  const cells = [...(parseCsv(source)[0] ?? []), ...cellsOf(r.body).map((c) => parseCsv(c)[0]?.[0] ?? '')]
  return cellsOf(filtered(filter, cells)).join(',')
}

function joinJson(r: Answered): unknown {
  const source: unknown = r.source === undefined ? r.id : JSON.parse(r.source)
  const plain = typeof source === 'object' && source !== null && !Array.isArray(source)
  return { ...(plain ? source : { SageMakerInput: source }), SageMakerOutput: r.body }
}

function filtered(filter: Select, value: unknown): unknown {
  const part = filter(value)
  if (part !== undefined) return part
  throw new AppError('HOOK_RESULT', { where: 'outputFilter', expected: 'a part of the answer', got: 'none' })
}
