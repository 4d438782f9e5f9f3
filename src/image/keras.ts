import type { Tensor } from '../tensor.ts'
import type { UploadedFile } from '../types.ts'
import type { DecodeOptions } from './decode.ts'
import { type Image, image } from './image.ts'
import { misuse } from './pixels.ts'
import type { Box, Filter } from './resize.ts'

export interface LoadImgOptions extends DecodeOptions {
  /** default rgb; grayscale leaves 16-bit grey as it is */
  colorMode?: 'rgb' | 'rgba' | 'grayscale'
  /** [height, width], Keras' order */
  targetSize?: readonly [number, number]
  /** default nearest */
  interpolation?: Filter
  /** cut the middle to the target's aspect ratio before resizing, instead of stretching */
  keepAspectRatio?: boolean
}

const MODE = { rgb: 'RGB', rgba: 'RGBA', grayscale: 'L' } as const

/** `keras.utils.load_img` with its defaults: RGB, stretched with nearest. */
export async function loadImg(file: UploadedFile | Uint8Array, options: LoadImgOptions = {}): Promise<Image> {
  const { colorMode = 'rgb', targetSize, interpolation = 'nearest', keepAspectRatio = false, ...decoding } = options
  if (!Object.hasOwn(MODE, colorMode))
    throw misuse('loadImg colorMode', `one of ${Object.keys(MODE).join(', ')}`, colorMode)
  const decoded = await image(file, decoding)
  const raw16 = colorMode === 'grayscale' && decoded.mode === 'I;16'
  const converted = raw16 ? decoded : decoded.convert(MODE[colorMode])
  if (!targetSize) return converted
  const size = [targetSize[1], targetSize[0]] as const
  return converted.resize(size, interpolation, keepAspectRatio ? middle(converted, size) : undefined)
}

function middle({ width, height }: Image, [w, h]: readonly [number, number]): Box {
  const cropHeight = Math.min(height, Math.floor((width * h) / w))
  const cropWidth = Math.min(width, Math.floor((height * w) / h))
  const [left, top] = [Math.floor((width - cropWidth) / 2), Math.floor((height - cropHeight) / 2)]
  return [left, top, left + cropWidth, top + cropHeight]
}

/** `keras.utils.img_to_array`: float32 [H,W,C], pixels not scaled. */
export function imgToArray(img: Image, dataFormat: 'channels_last' | 'channels_first' = 'channels_last'): Tensor {
  return img.tensor({ layout: dataFormat === 'channels_first' ? 'CHW' : 'HWC' })
}
