import type { AppError } from '../errors.ts'
import type { Manifest } from '../manifest.ts'
import type { HttpRequest, HttpResponse, RequestData } from '../types.ts'

/** What method and path alone say. */
export interface Route {
  /** the pattern, for the log: `POST /v1/infers/{model}` */
  readonly name: string
  readonly methods: readonly string[]
  /** absent: the only model, or the default one */
  readonly model?: string
  /** absent: the newest */
  readonly version?: string
}

/** What the body asks for. */
export interface Call {
  /** for `_preprocess` */
  readonly data: RequestData
  /** what the answer repeats, so that clients can match it to their request */
  readonly echo?: Readonly<Record<string, unknown>>
}

/**
 * A row of the table: how one family of clients speaks. It sees requests, manifests and results; neither sessions nor
 * hooks nor the events of a front. Every member may throw an AppError, and `fail` turns any into an answer.
 */
export interface Protocol {
  readonly name: string
  /** cheap, by method and path only; undefined: not mine */
  readonly match: (req: HttpRequest) => Route | undefined
  readonly decode: (req: HttpRequest, manifest: Manifest) => Call
  readonly encode: (result: unknown, call: Call) => HttpResponse
  readonly fail: (error: AppError, req: HttpRequest, call?: Call) => HttpResponse
}
