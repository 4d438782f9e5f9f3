/** The image helpers for model authors. */
export type { ConvertOptions, TargetMode } from './convert.ts'
export type { DecodeOptions } from './decode.ts'
export { Image, image } from './image.ts'
export { imgToArray, type LoadImgOptions, loadImg } from './keras.ts'
export { concat, npResize, npResizeRepeat, stack } from './numpy.ts'
export type { Mode, Pixels } from './pixels.ts'
export type { Box, Filter } from './resize.ts'
export type { Layout, PixelDType, TensorOptions } from './totensor.ts'
