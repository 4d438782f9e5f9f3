/** What `import … from 'modelayer'` gives the author of hooks. */
export { AppError } from './errors.ts'
export {
  BaseService,
  BaseService as CaffeBaseService,
  BaseService as MXNetBaseService,
  BaseService as PTServingBaseService,
  BaseService as SingleNodeService,
  BaseService as SparkServingBaseService,
  BaseService as TfServingBaseService,
  BaseService as XgSklServingBaseService,
} from './hooks.ts'
export * from './image/index.ts'
export type { Signature, TensorSpec } from './manifest.ts'
export { type DType, type Tensor, tensor } from './tensor.ts'
export type { Feeds, FormFiles, Nested, Outputs, RequestData, Tensors, UploadedFile } from './types.ts'
