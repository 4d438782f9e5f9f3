import { AppError } from '../errors.ts'
import type { Tensor } from '../tensor.ts'
import type { UploadedFile } from '../types.ts'
import { type ConvertOptions, convert, type TargetMode } from './convert.ts'
import { type DecodeOptions, decode } from './decode.ts'
import { type Mode, misuse, type Pixels } from './pixels.ts'
import { type Box, crop, type Filter, resize } from './resize.ts'
import { type TensorOptions, toArray, toTensor } from './totensor.ts'

/** A decoded picture with Pillow's modes and Pillow's arithmetic. Never changed: every method returns a new one. */
export class Image {
  /** PNG, JPEG, …: what the file was */
  readonly format: string
  readonly pixels: Pixels

  constructor(format: string, pixels: Pixels) {
    this.format = format
    this.pixels = pixels
  }

  get mode(): Mode {
    return this.pixels.mode
  }

  get width(): number {
    return this.pixels.width
  }

  get height(): number {
    return this.pixels.height
  }

  /** [width, height], the order of Pillow's `image.size` */
  get size(): [number, number] {
    return [this.width, this.height]
  }

  /** `image.convert(mode)`: luma, palettes, alpha and 16 bits as in Pillow */
  convert(mode: TargetMode, options?: ConvertOptions): Image {
    return new Image(this.format, convert(this.pixels, mode, options))
  }

  /**
   * `image.resize((width, height), filter, box)`: stretches. The default is Pillow's: bicubic, nearest for 16 bits.
   * Training code often chose another: Keras' load_img nearest, torchvision bilinear.
   */
  resize(size: readonly [number, number], filter?: Filter, box?: Box): Image {
    const chosen = filter ?? (this.mode === 'I;16' ? 'nearest' : 'bicubic')
    return new Image(this.format, resize(this.pixels, size, chosen, box))
  }

  /** `image.crop((left, upper, right, lower))` */
  crop(box: Box): Image {
    return new Image(this.format, crop(this.pixels, box))
  }

  /** a tensor to feed: float32 [1,H,W,C] unless options say otherwise */
  tensor(options?: TensorOptions): Tensor {
    return toTensor(this.pixels, options)
  }

  /** `np.array(image)` */
  array(): Tensor {
    return toArray(this.pixels)
  }
}

/**
 * Decodes an uploaded file. PNG and BMP are read here; other formats load sharp on first use.
 * @throws {AppError} BAD_IMAGE, IMAGE_TOO_LARGE, UNSUPPORTED_IMAGE, or MISSING_FIELD where the form had no such file
 */
export async function image(file: UploadedFile | Uint8Array, options: DecodeOptions = {}): Promise<Image> {
  const { format, pixels } = await decode(bytesOf(file), options)
  return new Image(format, pixels)
}

function bytesOf(file: unknown): Uint8Array {
  if (file instanceof Uint8Array) return file
  if (file === undefined || file === null)
    throw new AppError('MISSING_FIELD', { expected: 'an uploaded image file', got: 'no such field or file' })
  if (typeof file === 'string') throw new AppError('BAD_IMAGE', { expected: 'an uploaded file', got: 'a text field' })
  if (typeof file === 'object' && 'bytes' in file && file.bytes instanceof Uint8Array) return file.bytes
  throw misuse('image', 'an uploaded file: for (const file of Object.values(data.images))', `${typeof file}`)
}
