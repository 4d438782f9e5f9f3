import type { InferenceSession as Public, Tensor as PublicTensor } from 'onnxruntime-node'

/*
 * Stands in for the JavaScript of onnxruntime-node in a bundle: the part of its API that src/session.ts uses, over the same
 * binding. The package's own 29 KB, mostly for browsers and GPUs, cost 3.6 ms of a cold start of 55. The binding's interface is
 * private and may change with any version, so layers/runtime.json pins it, and a test compares both for every dtype.
 */

type Dims = readonly number[]

/** What the binding reads from feeds and makes for outputs: float16 in a Uint16Array, since it cannot read Node 24's Float16Array. */
class Tensor {
  readonly type: string
  readonly dims: Dims
  readonly data: unknown
  readonly location = 'cpu'
  constructor(type: string, data: { readonly length: number }, dims: Dims) {
    const size = dims.reduce((n, d) => n * d, 1)
    if (size !== data.length) throw new Error(`Tensor's size(${size}) does not match data length(${data.length}).`)
    this.type = type
    this.data = data
    this.dims = dims
  }
}

interface NativeSession {
  readonly inputMetadata: readonly { readonly name: string }[]
  readonly outputMetadata: readonly { readonly name: string }[]
  loadModel(path: string, options: object): void
  run(feeds: object, fetches: object, options: object): Record<string, PublicTensor>
  dispose(): void
}

interface Binding {
  initOrtOnce(level: number, tensor: typeof Tensor, mainThread: boolean): void
  readonly InferenceSession: new () => NativeSession
}

const binding: Binding = require(
  `onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/onnxruntime_binding.node`,
)

const LEVELS = ['verbose', 'info', 'warning', 'error', 'fatal'] as const
export const env = { logLevel: 'warning' as (typeof LEVELS)[number] }
let initialised = false
/** Node marks what workers may not do; asking node:worker_threads itself would load it, for 1.3 ms of each cold start. */
const isMainThread = (process.chdir as { disabled?: boolean }).disabled !== true

export const InferenceSession = {
  async create(path: string, options: object): Promise<Pick<Public, 'inputNames' | 'outputNames' | 'run' | 'release'>> {
    if (!initialised) binding.initOrtOnce(LEVELS.indexOf(env.logLevel), Tensor, isMainThread)
    initialised = true
    const native = new binding.InferenceSession()
    native.loadModel(path, options)
    const inputNames = native.inputMetadata.map((m) => m.name)
    const missing = (feeds: object) => inputNames.find((name) => !(name in feeds))
    return {
      inputNames,
      outputNames: native.outputMetadata.map((m) => m.name),
      release: async () => native.dispose(),
      async run(feeds: object, fetches: unknown, options: object = {}) {
        if (missing(feeds) !== undefined) throw new Error(`input '${missing(feeds)}' is missing in 'feeds'.`)
        const names = (fetches as readonly string[]).map((name) => [name, null])
        return native.run(feeds, Object.fromEntries(names), options)
      },
    }
  },
}

export { Tensor }
