import { isAppError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { linesOf } from '../lines.ts'
import type { BatchRecord, ReadContext, RecordFormat, RecordInput } from '../types.ts'

/** JSON Lines: a record a line, empty lines are none. */
export const jsonl = {
  name: 'jsonl',
  suffixes: ['.jsonl', '.ndjson', '.jsonlines'],
  match: (head) => !head.includes(0),
  read: readJsonLines,
} as const satisfies RecordFormat

async function* readJsonLines(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, options } = context
  let record = from?.record ?? 0
  const offset = from?.offset ?? 0
  const max = options.maxRecordBytes
  for await (const line of linesOf(context.bytes(offset), { offset, max })) {
    const { bytes, tooLong, next } = line
    if (!tooLong && isBlank(bytes)) continue
    yield {
      record,
      ...(tooLong ? { input: longLine } : readLine(bytes, context)),
      bytes: bytes.length,
      next: { record: ++record, offset: next },
      ...(context.source && { source: bytes.toString() }),
    }
  }
}

const longLine: RecordInput = { kind: 'bad', code: 'BODY_TOO_LARGE', reason: 'The line is too long.' }

function readLine(bytes: Buffer, { preprocess, options }: ReadContext): { input: RecordInput; id?: string } {
  try {
    const value = parseJson(bytes, 'the line')
    const member = options.idField !== undefined && isObject(value) ? value[options.idField] : undefined
    const id = typeof member === 'string' || typeof member === 'number' ? { id: String(member) } : {}
    return { ...id, input: preprocess && isObject(value) ? { kind: 'data', data: value } : { kind: 'instance', value } }
  } catch (e) {
    if (!isAppError(e)) throw e
    return { input: { kind: 'bad', code: e.code, reason: e.message } }
  }
}

const isBlank = (bytes: Buffer) => bytes.every((b) => b === 32 || b === 9 || b === 13)

function isObject(v: unknown): v is Record<string, unknown> {
  return typeof v === 'object' && v !== null && !Array.isArray(v)
}
