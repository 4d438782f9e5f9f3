import { type FileReader, openLocalFile } from './localfile.ts'
import type { BatchRecord, LocalFile, Span } from './types.ts'

/** The bytes of records that are spans of a file. */
export interface SpanReader {
  /** Records with their bytes, which nothing else reads. @throws {AppError} INPUT_CHANGED, STORE_FAILED */
  load(records: readonly BatchRecord[]): Promise<readonly BatchRecord[]>
  /** Memory of what was loaded, to be used again. */
  release(records: readonly BatchRecord[]): void
  close(): Promise<void>
}

/** The file is opened for the first span. */
export function createSpanReader(file: LocalFile | undefined): SpanReader {
  let opening: Promise<FileReader> | undefined
  const loaded = new WeakMap<BatchRecord, () => void>()
  const isSpan = (r: BatchRecord): r is BatchRecord & { readonly input: Span } => r.input.kind === 'span'
  return {
    async load(records) {
      if (!records.some(isSpan)) return records
      opening ??= openLocalFile(file!)
      const { read, give } = await opening
      const read1 = async (r: BatchRecord): Promise<BatchRecord> => {
        if (!isSpan(r)) return r
        const { start, size, about } = r.input
        const bytes = await read(start, size)
        const own: BatchRecord = { ...r, input: { kind: 'raw', bytes, about } }
        loaded.set(own, () => give(bytes))
        return own
      }
      return Promise.all(records.map(read1))
    },
    release(records) {
      for (const r of records) loaded.get(r)?.()
    },
    async close() {
      // what could not be opened was told to whoever loads
      await opening?.then(
        (r) => r.close(),
        () => undefined,
      )
    },
  }
}
