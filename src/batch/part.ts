import { now } from '../clock.ts'
import { isAppError } from '../errors.ts'
import type { Model } from '../models.ts'
import type { Limits } from '../predict.ts'
import { createAnswerer, stacks } from './answer.ts'
import { decoded } from './decoded.ts'
import { formatOf } from './formats/index.ts'
import { merged } from './merge.ts'
import { createMemory } from './numeric.ts'
import { RESULT_FORMATS, type ResultName } from './results/index.ts'
import { createSpanReader } from './spans.ts'
import type {
  BatchRecord,
  Counts,
  DecodeContext,
  LocalFile,
  OutputOptions,
  Result,
  ResultWriter,
  WriteContext,
} from './types.ts'

/** All that answering records of one object needs to know besides the model; can be cloned to another thread. */
export interface PartSpec extends Omit<DecodeContext, 'signature' | 'fields'> {
  /** of the input */
  readonly key: string
  readonly format: string
  readonly maxRows: number
  readonly result: ResultName
  readonly output: OutputOptions
  /** what spans are of */
  readonly file?: LocalFile
}

/** What became of consecutive records. */
export interface Answered {
  /** as the result format writes them; absent where that needs to know all before */
  readonly written?: Written
  readonly results?: readonly Result[]
  readonly ms: Laps
}

export type Laps = Readonly<Record<'prepare' | 'infer' | 'finish' | 'total', number>>

export interface Written {
  readonly lines: string | Uint8Array | readonly Uint8Array[]
  /** lines of `.err.jsonl` */
  readonly errors: string
  readonly counts: Counts
}

/** Records through the model, in this thread or another. */
export interface Part {
  /**
   * Records with the bytes of their spans, to be submitted; may begin while those before are in the graph. Another thread does this itself.
   * @throws {AppError} INPUT_CHANGED
   */
  load?(records: readonly BatchRecord[]): Promise<readonly BatchRecord[]>
  /**
   * Begins with records that are then asked for in their order. Another thread answers them until then; here they are prepared, and those
   * before have to be answered: their memory is used again.
   */
  submit(records: readonly BatchRecord[], limits: Limits): Pending
  close(): Promise<void>
}

/** @throws {AppError} DEADLINE, LOAD_FAILED: nobody's fault among the records */
export type Pending = () => Promise<Answered>

export async function createPart(model: Model, spec: PartSpec): Promise<Part> {
  const { signature, manifest } = model
  const context: DecodeContext = { ...spec, signature, fields: manifest.fields }
  const merging = await stacks(model, spec.maxRows)
  // an `_inference` of the package may keep what it is given, so its memory is not used again
  const memory = merging ? createMemory() : undefined
  const decode = await formatOf(spec.key, spec.format)?.decode?.(context, memory)
  const spans = createSpanReader(spec.file)
  const answerer = await createAnswerer(model, spec.maxRows)
  const row = RESULT_FORMATS[spec.result]
  const writer = 'separate' in row ? await row.open(writing(spec, model)) : undefined

  return {
    load: (records) => spans.load(records),
    submit(records, limits) {
      const begin = now()
      memory?.again()
      const all = records.flatMap((r) => decoded(r, decode))
      const entries = Promise.all((merging ? merged(all, signature) : all).map((r) => answerer.prepare(r, limits)))
      // told to whoever asks
      entries.catch(() => undefined)
      const begun = now() - begin
      return async () => {
        const asked = now()
        const { results, ms } = await answerer.answer(await entries, limits)
        if (merging) spans.release(records)
        const { infer, finish } = ms
        const answered = writer ? { written: writeResults(writer, results) } : { results }
        const total = begun + now() - asked
        return { ...answered, ms: { prepare: total - infer - finish, infer, finish, total } }
      }
    },
    close: () => spans.close(),
  }
}

export const writing = ({ key, format, output }: PartSpec, { signature }: Model): WriteContext => ({
  key,
  format,
  signature,
  options: output,
})

/** What the writer makes of results, with those named whose body cannot be written. */
export function writeResults(writer: ResultWriter, answers: readonly Result[]): Written {
  const lines: (string | Uint8Array)[] = []
  let errors = ''
  let failed = 0
  for (const answer of answers) {
    const { line, written } = lineOf(writer, answer)
    lines.push(line)
    if (written.ok) continue
    failed++
    errors += errorLine(written)
  }
  const text = lines.every((l) => typeof l === 'string')
  return {
    lines: text ? lines.join('') : lines.map((l) => (typeof l === 'string' ? Buffer.from(l) : l)),
    errors,
    counts: { records: answers.length, answered: answers.length - failed, failed },
  }
}

function errorLine({ record, id, code, reason }: Result & { ok: false }): string {
  return `${JSON.stringify({ record, id, code, reason })}\n`
}

/** A body that cannot be written names its record. */
function lineOf(writer: ResultWriter, r: Result): { line: string | Uint8Array; written: Result } {
  try {
    return { line: writer.write(r), written: r }
  } catch (e) {
    if (!isAppError(e) || !r.ok) throw e
    const { record, id, source } = r
    const written = { ok: false, record, id, source, code: e.code, reason: e.message } as const
    return { line: writer.write(written), written }
  }
}
