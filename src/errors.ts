/**
 * The one list of everything that can go wrong.
 *
 * `fault` says who can mend it: the caller of a request, the author of a package, or the platform.
 * `status` is the HTTP status a caller sees; `modelarts` the ModelArts code of the same finding.
 * Messages name fields, dtypes and shapes, never tensor values, payloads or secrets.
 */
export interface ErrorRow {
  readonly fault: 'caller' | 'author' | 'platform'
  readonly status: number
  readonly retryable?: boolean
  readonly modelarts?: string
  readonly text: string
}

export const ERRORS = {
  // requests
  BAD_REQUEST: { fault: 'caller', status: 400, text: 'The request cannot be read' },
  BAD_JSON: { fault: 'caller', status: 400, text: 'The body is not valid JSON' },
  BAD_MULTIPART: { fault: 'caller', status: 400, text: 'The multipart body cannot be read' },
  MISSING_FIELD: { fault: 'caller', status: 400, text: 'A required field is missing' },
  WRONG_DTYPE: { fault: 'caller', status: 400, text: 'A tensor has the wrong dtype' },
  WRONG_SHAPE: { fault: 'caller', status: 400, text: 'A tensor has the wrong shape' },
  MISSING_INPUT: { fault: 'caller', status: 400, text: 'The model needs an input that was not given' },
  UNKNOWN_INPUT: { fault: 'caller', status: 400, text: 'The model has no such input' },
  UNKNOWN_OUTPUT: { fault: 'caller', status: 400, text: 'The model has no such output' },
  UNKNOWN_MODEL: { fault: 'caller', status: 404, text: 'No such model' },
  UNKNOWN_VERSION: { fault: 'caller', status: 404, text: 'No such model version' },
  UNKNOWN_LABEL: { fault: 'caller', status: 400, text: 'No version of the model has this label' },
  UNKNOWN_SIGNATURE: { fault: 'caller', status: 400, text: 'No such signature' },
  NOT_FOUND: { fault: 'caller', status: 404, text: 'No such route' },
  METHOD_NOT_ALLOWED: { fault: 'caller', status: 405, text: 'This route does not take this method' },
  BODY_TOO_LARGE: { fault: 'caller', status: 413, text: 'The body is too large' },
  UNSUPPORTED_MEDIA: { fault: 'caller', status: 415, text: 'The content type is not supported' },
  BAD_IMAGE: { fault: 'caller', status: 400, text: 'The file is not a readable image' },
  IMAGE_TOO_LARGE: { fault: 'caller', status: 413, text: 'The image has too many pixels' },
  UNSUPPORTED_DTYPE: { fault: 'caller', status: 501, text: 'This protocol has no words for the dtype' },
  BAD_EXAMPLE: { fault: 'caller', status: 400, text: 'A tf.Example does not fit the model' },
  BAD_RECORD: { fault: 'caller', status: 400, text: 'A TFRecord file is damaged' },
  UNSUPPORTED_IMAGE: { fault: 'caller', status: 415, text: 'The image format is not supported' },
  // hooks and inference
  HOOK_FAILED: { fault: 'author', status: 500, text: 'A hook of the model package failed' },
  HOOK_RESULT: { fault: 'author', status: 500, text: 'A hook returned something that cannot be used' },
  DEADLINE: { fault: 'platform', status: 504, retryable: true, text: 'The request did not finish before its deadline' },
  INPUT_REFUSED: { fault: 'caller', status: 400, text: 'The model cannot compute with these tensors' },
  RUN_FAILED: { fault: 'platform', status: 500, text: 'The model failed on this input' },
  LOAD_FAILED: { fault: 'platform', status: 500, retryable: true, text: 'The model cannot be loaded' },
  MODEL_UNREACHABLE: { fault: 'platform', status: 503, retryable: true, text: 'The model cannot be fetched now' },
  MODEL_MISPLACED: {
    fault: 'author',
    status: 500,
    text: 'The files of the model are not where the function fetches them',
  },
  NO_ROOM: { fault: 'author', status: 500, text: 'The disk is too small for the model' },
  ANSWER_TOO_LARGE: { fault: 'author', status: 500, text: 'The answer is too large for the front it has to pass' },
  INTERNAL: { fault: 'platform', status: 500, text: 'Internal error' },
  // batch
  BAD_EVENT: { fault: 'author', status: 500, text: 'The event that started the batch is not understood' },
  BAD_INPUT: { fault: 'caller', status: 400, text: 'An input object cannot be read' },
  NO_OBJECT: { fault: 'caller', status: 404, text: 'There is no such object' },
  INPUT_CHANGED: { fault: 'caller', status: 409, text: 'An input object changed while it was read' },
  BATCH_OVERLAP: { fault: 'author', status: 500, text: 'Input and output of a batch overlap' },
  THREAD_ENDED: {
    fault: 'platform',
    status: 500,
    retryable: true,
    text: 'A thread of a batch ended, by its hooks or for want of memory',
  },
  CRASHED: { fault: 'platform', status: 500, text: 'The process died each time on this record' },
  STORE_FAILED: { fault: 'platform', status: 503, retryable: true, text: 'The object store did not answer' },
  LEASE_LOST: { fault: 'platform', status: 503, retryable: true, text: 'Another process has taken over' },
  UPLOAD_GONE: { fault: 'platform', status: 503, retryable: true, text: 'Parts of an upload are gone' },
  STORE_REFUSED: { fault: 'author', status: 500, text: 'The object store refused' },
  // importing
  BAD_MODEL_FILE: { fault: 'author', status: 500, text: 'A model file is damaged or not what it should be' },
  MODEL_NOT_FOUND: { fault: 'author', status: 500, text: 'No model was found' },
  MODEL_AMBIGUOUS: { fault: 'author', status: 500, text: 'More than one choice fits' },
  UNSUPPORTED_OPS: { fault: 'author', status: 500, text: 'The model uses operators that cannot be imported' },
  UNSUPPORTED_LAYER: { fault: 'author', status: 500, text: 'The Keras model has a layer that cannot be imported' },
  CHECKPOINT_MISMATCH: { fault: 'author', status: 500, text: 'Graph and checkpoint disagree' },
  // packages
  BAD_PACKAGE: {
    fault: 'author',
    status: 500,
    modelarts: 'ModelArts.3015',
    text: 'The model package has faults',
  },
  BAD_HOOKS: { fault: 'author', status: 500, text: 'customize_service cannot be used' },
  BAD_GOLDEN: { fault: 'author', status: 500, text: 'A golden request cannot be read' },
  GOLDEN_DIFFERS: { fault: 'author', status: 500, text: 'The package does not reproduce its golden answers' },
  SOURCE_FAILED: {
    fault: 'author',
    status: 500,
    modelarts: 'ModelArts.3017',
    text: 'The source of the model cannot be read',
  },
  // layers and sandbox
  LAYER_TOO_BIG: { fault: 'author', status: 500, text: 'The function is larger than Lambda allows' },
  LAYER_FILE: { fault: 'platform', status: 500, text: 'A file of a layer is not the one on its list' },
  FETCH_FAILED: { fault: 'platform', status: 500, retryable: true, text: 'A package cannot be fetched' },
  BAD_ARTIFACT: { fault: 'author', status: 500, text: 'A built artifact is damaged or not what it should be' },
  SANDBOX_FAILED: { fault: 'platform', status: 500, text: 'The sandbox cannot run' },
  // releases
  AWS_REFUSED: { fault: 'author', status: 500, text: 'AWS refused the call' },
  NO_RELEASE: { fault: 'author', status: 500, text: 'The function has no such version' },
  // command line
  USAGE: { fault: 'author', status: 500, text: 'The command line is not understood' },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

/** What a message is made of; every part is optional, and none may hold a value of a tensor. */
export interface ErrorDetails {
  /** where it went wrong: a JSON pointer, a file, a node, a field */
  where?: string
  expected?: string
  got?: string
  /** what to do about it */
  fix?: string
  /** what the caller reads instead of the message, in the words of its protocol; never logged, so it may quote the request */
  reply?: string
  /** anything machine readable for --json and logs */
  data?: Record<string, unknown>
  cause?: unknown
}

/** `Text: expected X for WHERE but received Y. What to do.` */
export function describe(code: ErrorCode, d: ErrorDetails): string {
  const at = d.where ? ` for ${d.where}` : ''
  const what =
    d.expected && d.got
      ? `: expected ${d.expected}${at} but received ${d.got}`
      : d.expected
        ? `: expected ${d.expected}${at}`
        : d.got
          ? `${at}: ${d.got}`
          : at
  // a list of findings ends with its own line
  const end = what.includes('\n') ? '\n' : ' '
  return `${ERRORS[code].text}${what}.${d.fix ? `${end}${d.fix}` : ''}`
}

/**
 * The only error class. Hooks are bundled apart from the runtime, so two copies of this class can meet:
 * recognise one with {@link isAppError}, never with `instanceof`.
 */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly details: ErrorDetails
  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    super(describe(code, details), details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.details = details
  }
}

export function isAppError(e: unknown): e is AppError {
  return e instanceof Error && e.name === 'AppError' && (e as { code?: string }).code! in ERRORS
}
