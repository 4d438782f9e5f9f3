import type { Tensor } from './tensor.ts'

/** Bytes in: what every front (API Gateway, Function URL, ALB, node:http, the sandbox) is turned into. */
export interface HttpRequest {
  readonly method: string
  /** decoded from nothing: still percent-encoded, without query and without the stage */
  readonly path: string
  readonly query: string
  /** names in lower case; repeated headers joined by a comma */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly requestId: string
  /** Lambda's id of the invocation, which is another than that of the gateway before it */
  readonly functionRequestId?: string
  /** milliseconds since the epoch after which nobody waits for the answer any more */
  readonly deadline?: number
}

/** Bytes out. */
export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/** A file of a multipart form, as the hooks see it. */
export interface UploadedFile {
  readonly field: string
  readonly fileName: string
  readonly contentType: string
  readonly bytes: Uint8Array
  /** decoded as UTF-8, a byte order mark dropped */
  text(): string
  /** @throws {AppError} BAD_JSON */
  json(): unknown
  /** rows of fields (RFC 4180); with `{ header: true }` one object per row */
  csv(options?: { header?: false }): string[][]
  csv(options: { header: true }): Record<string, string>[]
}

/** What `_preprocess` receives: `{ field: { fileName: UploadedFile } }` for multipart (text fields are strings), or the parsed JSON. */
// biome-ignore lint/suspicious/noExplicitAny: model authors index into it as they did in Python; they know their own fields
export type RequestData = Record<string, any>

/** The same for a form that has files only: `_preprocess(data: FormFiles)` is typed all the way down. */
export type FormFiles = Record<string, Record<string, UploadedFile>>

/** What `_postprocess` receives: nested arrays by output alias, the `.tolist()` of Python. */
// biome-ignore lint/suspicious/noExplicitAny: as above, `outputs.scores[0]` is the idiom of every sample
export type Outputs = Record<string, any>

export type Nested = number | bigint | boolean | string | Nested[]

/** What `_preprocess` returns: a tensor or a nested array for each input alias. */
export type Feeds = Record<
  string,
  Tensor | Nested | ArrayLike<number> | ArrayLike<bigint> | readonly ArrayLike<number>[]
>

/** The heart's view of a loaded graph: typed tensors by alias in, typed tensors by alias out. */
export type Tensors = Record<string, Tensor>
