import type { AppError } from '../errors.ts'
import type { Manifest, Signature } from '../manifest.ts'
import type { HttpRequest, HttpResponse, RequestData, Tensors } from '../types.ts'

/** Which model a request means. */
export interface ModelRef {
  /** absent: the only model, or the default one */
  readonly model?: string
  /** absent: the newest */
  readonly version?: string
  /** a name of a version, instead of the version */
  readonly label?: string
}

/** What method and path alone say. */
export interface Route extends ModelRef {
  /** the pattern, for the log: `POST /v1/infers/{model}` */
  readonly name: string
  readonly methods: readonly string[]
  /** what is asked of the model, a word of the row's own: `predict`, `metadata` */
  readonly action?: string
}

/** What the body asks for: through the hooks of the package, or of the graph itself. It knows how its answer is written. */
export type Call = HooksCall | TensorsCall

export interface HooksCall {
  readonly kind: 'hooks'
  /** for `_preprocess` */
  readonly data: RequestData
  /** what the answer repeats, also the one that tells an error, so that clients can match it to their request */
  readonly echo?: Readonly<Record<string, unknown>>
  /** of what `_postprocess` returned */
  readonly encode: (body: unknown) => HttpResponse
}

/** No hook is asked: typed tensors in, typed tensors out. The session checks the feeds against the signature. */
export interface TensorsCall {
  readonly kind: 'tensors'
  /** name of the signature */
  readonly signature: string
  readonly feeds: Tensors
  /** aliases of the outputs; absent: all */
  readonly wanted?: readonly string[]
  readonly echo?: Readonly<Record<string, unknown>>
  readonly encode: (outputs: Tensors, signature: Signature) => HttpResponse
}

/** The models that are there, for what is answered without running one. */
export interface Catalogue {
  /** every version of every model, newest first */
  readonly manifests: readonly Manifest[]
  /** labels of versions, by model */
  readonly labels: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** @throws {AppError} UNKNOWN_MODEL, UNKNOWN_VERSION, UNKNOWN_LABEL */
  find(ref: ModelRef): Manifest
  /** Loads it where that is still to be done. Undefined: it is ready; else what keeps it from being so. */
  load(manifest: Manifest): Promise<AppError | undefined>
}

type Awaitable<T> = T | Promise<T>

/**
 * A row of the table: how one family of clients speaks. It sees requests, manifests and results; neither sessions nor
 * hooks nor the events of a front. Every member may throw an AppError, and `fail` turns any into an answer.
 */
export interface Protocol {
  readonly name: string
  /** cheap, by method and path only; undefined: not mine */
  readonly match: (req: HttpRequest) => Route | undefined
  /** Answers what needs no inference: health, status, metadata. Undefined: `decode` it. */
  readonly inform?: (req: HttpRequest, route: Route, catalogue: Catalogue) => Awaitable<HttpResponse | undefined>
  readonly decode: (req: HttpRequest, manifest: Manifest, route: Route) => Awaitable<Call>
  readonly fail: (error: AppError, req: HttpRequest, known?: { route?: Route; call?: Call }) => HttpResponse
}
