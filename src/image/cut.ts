import { bytesFromString } from '../bytestring.ts'
import { AppError } from '../errors.ts'
import type { CutSpec } from '../manifest.ts'
import { runStrings, type StringProgram } from '../strings.ts'
import type { Tensor } from '../tensor.ts'
import { convert } from './convert.ts'
import { decode } from './decode.ts'
import type { Pixels } from './pixels.ts'

/** What a TensorFlow operator that decodes images was asked for; `steps` and `outputs` lead from the cut's inputs to one string. */
export interface DecodeSpec extends StringProgram {
  /** the operator, for messages */
  readonly op: string
  /** formats that the operator reads, by the names of sniff.ts */
  readonly formats: readonly string[]
  /** 0: as many as the file has */
  readonly channels: number
  /** float32 is scaled to 0 … 1 */
  readonly dtype: 'uint8' | 'float32'
}

/** DecodeJpeg, DecodePng, DecodeBmp and DecodeImage: one [height, width, channels] tensor, EXIF orientation ignored. */
export function decodeImageCut(cut: CutSpec): (inputs: readonly Tensor[]) => Promise<readonly Tensor[]> {
  const spec = cut.spec as Readonly<Record<string, unknown>> & DecodeSpec
  return async (inputs) => {
    const [contents] = runStrings(spec, inputs)
    if (!Array.isArray(contents?.data) || contents.data.length !== 1)
      throw new AppError('WRONG_SHAPE', { where: spec.op, expected: 'one image', got: `${contents?.data.length ?? 0}` })
    const bytes = bytesFromString(contents.data[0]!)
    const { format, pixels } = await decode(bytes, {})
    if (!spec.formats.includes(format))
      throw new AppError('UNSUPPORTED_IMAGE', { where: spec.op, expected: spec.formats.join(', '), got: format })
    const { data, channels } = banded(pixels, spec.channels, format, bytes)
    const shape = [pixels.height, pixels.width, channels]
    return [spec.dtype === 'uint8' ? { dtype: 'uint8', shape, data } : { dtype: 'float32', shape, data: unit(data) }]
  }
}

const unit = (data: Uint8Array): Float32Array => Float32Array.from(data, (v) => v / 255)

/** Grey as libpng makes it, cut off, for the weights TensorFlow asks of it. */
const libpngGrey = (r: number, g: number, b: number): number => (9797 * r + 19234 * g + 3737 * b) >> 15

function banded(p: Pixels, wanted: number, format: string, bytes: Uint8Array): { data: Uint8Array; channels: number } {
  const plain = eight(p)
  const clear = plain.palette?.some((v, i) => i % 4 === 3 && v < 255) ?? false
  const own = OWN[plain.mode] ?? (clear ? 4 : 3)
  const channels = wanted === 0 ? own : wanted
  if (channels === 1 && format === 'PNG' && own >= 3) {
    const { data } = convert(plain, 'RGB')
    const out = new Uint8Array(p.width * p.height)
    for (let i = 0; i < out.length; i++) out[i] = libpngGrey(data[3 * i]!, data[3 * i + 1]!, data[3 * i + 2]!)
    return { data: out, channels }
  }
  const mode = ({ 1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA' } as const)[channels as 1 | 2 | 3 | 4]
  const data = convert(plain, mode).data as Uint8Array
  const opaque = !clear && !plain.transparent && own % 2 === 1
  // the largest value of the file's own depth, be it 15, is what TensorFlow takes for opaque
  const depth = format === 'PNG' ? bytes[24]! : 8
  if (channels === 4 && opaque && depth < 8) for (let i = 3; i < data.length; i += 4) data[i] = (1 << depth) - 1
  return { data, channels }
}

const OWN: Readonly<Record<string, number>> = { '1': 1, L: 1, LA: 2, RGB: 3, RGBA: 4, CMYK: 3 }

/** 16-bit grey as 8 bits: the high byte, as libpng strips it. */
function eight(p: Pixels): Pixels {
  return p.mode === 'I;16' ? { ...p, mode: 'L', data: Uint8Array.from(p.data, (v) => v >> 8) } : p
}
