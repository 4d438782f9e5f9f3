import type { FieldSpec, Signature } from '../manifest.ts'
import type { RequestData, Tensors } from '../types.ts'
import type { Buffers } from './buffers.ts'
import type { Memory } from './numeric.ts'

/** An object of a bucket; for a folder store the bucket is a folder and the key a path below it, with slashes. */
export interface ObjectRef {
  readonly bucket: string
  readonly key: string
  /** a certain version of a versioned bucket */
  readonly versionId?: string
  /** of a web address, from the question mark on; it may hold a signature, so it is part of no name and no message */
  readonly query?: string
}

export interface ObjectInfo extends ObjectRef {
  readonly size: number
  /** changes with the content, without quotes */
  readonly etag: string
  /** milliseconds since the epoch */
  readonly modified: number
}

export interface ReadOptions {
  /** first byte */
  readonly start?: number
  /** behind the last byte */
  readonly end?: number
  /** INPUT_CHANGED where the object has another etag by now */
  readonly ifMatch?: string
  /** what was yielded may be overwritten when the next is asked for; or the memory that bytes are read into, by stores that can */
  readonly reuse?: Reuse
}

export type Reuse = true | (() => Uint8Array)

/** A file of this machine, which any thread may open by itself; of the version that has this etag. */
export interface LocalFile {
  readonly path: string
  readonly etag: string
}

export interface WriteOptions {
  /** `'absent'`: only where there is none; `{ etag }`: only over that content */
  readonly only?: 'absent' | { readonly etag: string }
  readonly contentType?: string
}

/** Not written where the condition did not hold; the etag is that of what was written. */
export type Written = { readonly written: true; readonly etag: string } | { readonly written: false }

/**
 * A bucket or a folder, with one behaviour. A method tries once and throws STORE_FAILED for what may pass (see reliable.ts for
 * repeating), NO_OBJECT for what is not there, STORE_REFUSED for what will not pass.
 */
export interface ObjectStore {
  /** undefined where there is none */
  stat(ref: ObjectRef): Promise<ObjectInfo | undefined>
  /** The bytes as they come, never collected. Fewer bytes than asked for are STORE_FAILED. */
  read(ref: ObjectRef, options?: ReadOptions): AsyncIterable<Uint8Array>
  /** the object as a file, where it is one, and as large as to be worth opening it once more */
  file?(info: ObjectInfo): LocalFile | undefined
  /** by key, in the order of their UTF-8 bytes */
  list(bucket: string, prefix: string, after?: string): AsyncIterable<ObjectInfo>
  put(ref: ObjectRef, bytes: Uint8Array, options?: WriteOptions): Promise<Written>
  remove(ref: ObjectRef): Promise<void>
  /** A new object in parts, or the rest of one that another process began. Nothing is visible before it is completed. */
  upload(ref: ObjectRef, options?: UploadOptions): PartUpload
}

export interface UploadOptions extends Omit<WriteOptions, 'only'> {
  /** the id of an upload that goes on */
  readonly id?: string
}

/** All that a later process needs to go on; JSON. */
export interface UploadState {
  readonly id: string
  readonly parts: readonly { readonly size: number; readonly etag: string }[]
}

export interface PartUpload {
  /** all parts but the last have at least this size */
  readonly partSize: number
  /** number 0, 1, …; a number given again replaces the part */
  part(number: number, bytes: Uint8Array): Promise<{ readonly size: number; readonly etag: string }>
  /** the id under which the store keeps the parts */
  id(): Promise<string>
  complete(parts: UploadState['parts'], options?: Pick<WriteOptions, 'only'>): Promise<Written>
  abort(): Promise<void>
}

/** What a record holds, in the terms of whoever can make feeds of it. */
export type RecordInput =
  /** a file as a form would carry it: becomes `{ field: { fileName: UploadedFile } }` and passes `_preprocess` */
  | { readonly kind: 'file'; readonly fileName: string; readonly contentType: string; readonly bytes: Uint8Array }
  /** the parsed body of a request: passes `_preprocess` */
  | { readonly kind: 'data'; readonly data: RequestData }
  /** values by alias, or of the only input, as nested arrays with or without the batch dimension; no `_preprocess` */
  | { readonly kind: 'instance'; readonly value: unknown }
  /** tensors by alias WITHOUT the batch dimension, of the declared dtype; no `_preprocess` */
  | { readonly kind: 'tensors'; readonly tensors: Tensors }
  /** a serialized tf.Example */
  | { readonly kind: 'example'; readonly bytes: Uint8Array }
  /** another object, read when its turn comes: lines of manifests, the objects of a prefix */
  | { readonly kind: 'object'; readonly ref: ObjectRef }
  /** as it lies in the file, in buffers that nothing else uses: {@link RecordFormat.decode} makes one of the others of it */
  | Raw
  /** as raw, of bytes that nobody has read yet: of {@link ReadContext.file} */
  | Span
  /** what could not be read; the rest of the file goes on */
  | { readonly kind: 'bad'; readonly code: string; readonly reason: string }

export interface Raw {
  readonly kind: 'raw'
  readonly bytes: Uint8Array
  /** of a record that is several: where each begins and ends in `bytes`; absent: all are as long */
  readonly spans?: Uint32Array
  /** what else decoding needs to know; JSON */
  readonly about?: unknown
}

export interface Span {
  readonly kind: 'span'
  readonly start: number
  readonly size: number
  readonly about?: unknown
}

/** A record as input, and what it calls itself. */
export interface Named {
  readonly id?: string
  readonly input: Exclude<RecordInput, Raw | Span>
}

/**
 * Where reading goes on; JSON. `record` counts from 0 over the whole input. A format that can seek has `offset` (a byte of the
 * object), and may keep more in `extra`; one that cannot (gzip, zip) reads again and passes over the records before `record`.
 */
export interface Position {
  readonly record: number
  readonly offset?: number
  readonly extra?: unknown
}

export interface BatchRecord {
  /** from 0, in input order, without gaps */
  readonly record: number
  /** so many consecutive records in one: `raw`, `span`, or `tensors` with a batch dimension of that size. Absent: one record */
  readonly count?: number
  /** what the record is called in results: a name inside an archive, an id column; absent: the number */
  readonly id?: string
  readonly input: RecordInput
  /** bytes of input, roughly: for micro-batches and the memory that waiting records hold */
  readonly bytes: number
  /** reading from there yields the record after this one */
  readonly next: Position
  /** the text of the record where it is text: what a join writes beside the prediction */
  readonly source?: string
}

/** A record whose input is no bytes of a format any more. */
export interface Decoded extends Omit<BatchRecord, 'input'> {
  readonly input: Named['input']
}

/** What users may say about their input. */
export interface InputOptions {
  /** ModelArts' `mapping_rule`: the request's schema with an `index` at each leaf */
  readonly mappingRule?: unknown
  /** first line of a CSV; default: found by whether its cells are numbers */
  readonly header?: boolean
  /** JSONPath: the part of a record that the model sees */
  readonly inputFilter?: string
  /** column or member that names a record */
  readonly idField?: string
  /** the longest line, CSV row, archive entry or example, in bytes; longer ones are bad records. Default 64 MiB */
  readonly maxRecordBytes?: number
  /** web addresses that lists may name: see webaccess.ts. Default: none */
  readonly webSources?: readonly string[]
}

/** What the model and the user say about records; it is the same in each thread. */
export type DecodeContext = Pick<ReadContext, 'signature' | 'fields' | 'preprocess' | 'options'>

/**
 * One record; or several that are as long, where a format yields such. Never throws: what is wrong with it is in its input, and of several
 * that are wrong each is asked for again.
 */
export type Decode = (raw: Omit<Raw, 'spans'>, count?: number) => Named

export interface ReadContext {
  readonly store: ObjectStore
  readonly info: ObjectInfo
  /** the object's bytes from an offset, each read checked against the version that the run began with */
  bytes(start?: number, end?: number, reuse?: Reuse): AsyncIterable<Uint8Array>
  /** the object, where whoever decodes records can read it: records may be spans of it */
  readonly file?: LocalFile
  /** absent: from the beginning */
  readonly from?: Position
  /** how many consecutive records may come as one, from this one on; absent: 1 */
  block?(record: number): number
  /** for what comes as one; where records are answered by other threads */
  readonly buffers?: Buffers
  readonly signature: Signature
  /** fields of the model's form, where it declares them */
  readonly fields?: Readonly<Record<string, FieldSpec>>
  /** the model has its own `_preprocess`: text rows become `data` for it; otherwise `instance` */
  readonly preprocess: boolean
  /** `source` of records will be asked for; otherwise it need not be made */
  readonly source: boolean
  readonly options: InputOptions
}

/** A row per file type. Found by suffix (longest wins), then the content is checked. */
export interface RecordFormat {
  readonly name: string
  /** lower case, with the dot: `.jsonl`, `.jsonl.gz`; compared with the key in lower case */
  readonly suffixes: readonly string[]
  /** the first bytes (up to 512) can be of this type; a file that fails this is BAD_INPUT as a whole */
  match(head: Uint8Array): boolean
  /** one record, which is the object itself: it need not be streamed and has no position */
  readonly single?: true
  /** its records are of kind `object`: manifests and prefixes; what they name may itself hold many records */
  readonly lists?: true
  /**
   * Yields in file order and holds no more than one record. A record that cannot be read is yielded as `bad`; a file that cannot
   * be read on is thrown as BAD_INPUT with the record number in `where`.
   */
  read(context: ReadContext): AsyncIterable<BatchRecord>
  /** For a format that yields `raw`: reading only finds where records begin, and this work is done in any thread. */
  decode?(context: DecodeContext, memory?: Memory): Promise<Decode>
}

/** One record answered or named, in input order. */
export type Result =
  | {
      readonly ok: true
      readonly record: number
      readonly id: string
      /** what `_postprocess` returned */
      readonly body: unknown
      /** the output tensors with their batch dimension, where no `_inference` of the package stands between */
      readonly tensors: Tensors
      readonly source?: string
    }
  | {
      readonly ok: false
      readonly record: number
      readonly id: string
      readonly code: string
      readonly reason: string
      readonly source?: string
    }

/** What users may say about their output. */
export interface OutputOptions {
  /** JSONPath: the part of the body that is written */
  readonly outputFilter?: string
  /** SageMaker's JoinSource */
  readonly joinSource?: 'Input' | 'None'
}

export interface WriteContext {
  /** key of the input object */
  readonly key: string
  /** name of the input's format, as of {@link RecordFormat} */
  readonly format: string
  readonly signature: Signature
  readonly options: OutputOptions
  /** what `state()` returned before the checkpoint that the run goes on from */
  readonly state?: unknown
}

/** Makes the bytes of a result object, record by record; failed ones may add nothing. */
export interface ResultWriter {
  write(result: Result): string | Uint8Array
  /** what stands at the end (a parquet footer) */
  end(): string | Uint8Array
  /** what fills the reserved bytes at the start, asked for after `end` */
  head?(): Uint8Array
  /** JSON; small, but all that is needed to go on */
  state(): unknown
}

export interface Names {
  /** output prefix, empty or ending with a slash */
  readonly prefix: string
  /** key of the input below the input prefix */
  readonly key: string
  /** digest of input version, model and options */
  readonly run: string
}

/** A row per way to write results. */
export interface ResultFormat {
  readonly name: string
  readonly contentType: string
  /** A name with the digest in it never meets another version's; one without is replaced by newer versions of the input only. */
  key(names: Names): string
  /** bytes at the start that are known at the end only: a count in a header */
  readonly reserve?: number
  /** what is written of a record depends on that record alone, so any thread may write it */
  readonly separate?: true
  open(context: WriteContext): ResultWriter | Promise<ResultWriter>
  /** an object that lists a whole job, made from the `.done.json` of its items */
  readonly manifest?: JobManifest
}

export interface JobManifest {
  key(prefix: string, job: string): string
  line(done: Done): string
}

/** `.done.json`: written last. */
export interface Done {
  readonly status: 'DONE' | 'FAILED'
  readonly input: { readonly bucket: string; readonly key: string; readonly version: string; readonly size: number }
  readonly output: { readonly bucket: string; readonly key: string; readonly errors?: string }
  readonly run: string
  readonly model: { readonly name: string; readonly version: string; readonly digest: string }
  readonly code: string
  readonly format: string
  readonly counts: Counts
  /** milliseconds, over all invocations */
  readonly ms: Readonly<Record<string, number>>
  readonly sequencer?: string
  /** of an object that failed as a whole */
  readonly error?: { readonly code: string; readonly reason: string }
}

export interface Counts {
  /** `answered + failed` */
  readonly records: number
  readonly answered: number
  readonly failed: number
}
