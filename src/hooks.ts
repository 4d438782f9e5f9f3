import { AppError } from './errors.ts'
import { toFeeds } from './feeds.ts'
import type { Signature } from './manifest.ts'
import { toOutputs } from './outputs.ts'
import type { Feeds, Outputs, RequestData, Tensors } from './types.ts'

/** What the runtime lends a service: its signature, and the graph behind it. */
export interface Binding {
  readonly signature: Signature
  run(feeds: Tensors): Promise<Tensors>
}

/** A constructor has the two arguments of ModelArts only, so the binding is handed over beside them. */
let lent: Binding | undefined

/**
 * What authors of model packages extend. Every hook may be left out, and may be sync or async:
 *
 *     export default class MnistService extends TfServingBaseService {
 *       async _preprocess(data: RequestData) { … return { images } }
 *       async _postprocess(outputs: Outputs, tensors: Tensors) { … return { predicted_label } }
 *     }
 *
 * One instance serves all requests, also at the same time: keep nothing of a request in `this`.
 */
export class BaseService {
  /** name of the model */
  readonly modelName: string
  /** directory of the model's files: labels and other assets */
  readonly modelPath: string
  readonly #binding: Binding | undefined

  constructor(modelName: string, modelPath: string) {
    this.modelName = modelName
    this.modelPath = modelPath
    this.#binding = lent
  }

  /** inputs and outputs by alias, with dtype and shape */
  get signature(): Signature {
    return this.#bound().signature
  }

  /** `{ field: { fileName: UploadedFile } }` of a form, or the parsed JSON → a tensor or nested array for each input */
  _preprocess(data: RequestData): Feeds | Promise<Feeds> {
    return data
  }

  /** runs the model; an override replaces that, and may call `super._inference` */
  async _inference(data: Feeds): Promise<Outputs> {
    const { signature, run } = this.#bound()
    return toOutputs(await run(toFeeds(data, signature)))
  }

  /** nested arrays by output alias, and the same as typed tensors → any JSON value: the body of the answer */
  _postprocess(outputs: Outputs, _tensors: Tensors): unknown {
    return outputs
  }

  #bound(): Binding {
    if (this.#binding) return this.#binding
    throw new AppError('BAD_HOOKS', {
      expected: 'a service made by the runtime',
      got: `new ${this.constructor.name}(…)`,
      fix: 'To try a package, use `modelayer predict` or `modelayer serve`.',
    })
  }
}

export type ServiceClass = new (modelName: string, modelPath: string) => BaseService

export function createService(
  Class: ServiceClass,
  modelName: string,
  modelPath: string,
  binding: Binding,
): BaseService {
  lent = binding
  try {
    return new Class(modelName, modelPath)
  } finally {
    lent = undefined
  }
}

export const HOOKS = ['_preprocess', '_inference', '_postprocess'] as const

export function overrides(service: BaseService, hook: (typeof HOOKS)[number]): boolean {
  return service[hook] !== BaseService.prototype[hook]
}
