import type { Sharp, SharpOptions } from 'sharp'
import { AppError, isAppError } from '../errors.ts'
import { memo } from '../memo.ts'
import { badImage, MODES, type Mode, type Pixels, type SizeGuard } from './pixels.ts'

type Open = (bytes: Uint8Array, options: SharpOptions) => Sharp

/** sharp costs 13-30 ms of a cold start, so it is loaded by the first image that needs it and by nothing else. */
const sharp = memo(async (): Promise<Open> => {
  try {
    const { default: open } = await import('sharp')
    // one image at a time in one small process: threads and a cache of decoded files only cost memory
    open.concurrency(1)
    open.cache(false)
    return open
  } catch (cause) {
    throw new AppError('LOAD_FAILED', {
      expected: 'the image layer (sharp)',
      got: 'none that loads',
      fix: 'Attach the image layer to the function; PNG and BMP files need none.',
      cause,
    })
  }
})

/** libvips' colour space and channel count → Pillow's mode, and how to keep libvips from converting it */
const MODE_OF: Readonly<Record<string, Mode>> = {
  'b-w/1': 'L',
  'b-w/2': 'LA',
  'srgb/3': 'RGB',
  'srgb/4': 'RGBA',
  'rgb/3': 'RGB',
  'rgb/4': 'RGBA',
  'cmyk/4': 'CMYK',
  'grey16/1': 'I;16',
  // Pillow keeps the high bytes of 16-bit colours
  'rgb16/3': 'RGB',
  'rgb16/4': 'RGBA',
}

export async function readNative(format: string, bytes: Uint8Array, limit: number, guard: SizeGuard): Promise<Pixels> {
  const open = await sharp()
  try {
    // profiles are ignored as Pillow ignores them; warnings are no failures, missing data is
    const input = open(bytes, { failOn: 'error', ignoreIcc: true, limitInputPixels: limit, sequentialRead: true })
    const { width, height, space, channels, depth, orientation, bitsPerSample } = await input.metadata()
    guard(width, height)
    const mode = MODE_OF[`${space}/${channels}`]
    if (!mode || (depth !== 'uchar' && depth !== 'ushort'))
      throw new AppError('UNSUPPORTED_IMAGE', {
        got: `${format} with ${channels} channels of type ${depth} in colour space ${space}`,
        fix: 'Send PNG or JPEG.',
      })
    if (mode === 'CMYK') input.pipelineColourspace('cmyk')
    // libvips drops the alpha of a grey result, so grey with alpha is read as colours with alpha
    const out = mode === 'LA' ? 'srgb' : depth === 'ushort' && mode !== 'I;16' ? 'rgb16' : space
    const raw = await input.toColourspace(out).raw({ depth }).toBuffer()
    // a plain array over it: a Buffer's slice() would be a view
    const data = new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength)
    const expected = width * height * (mode === 'LA' ? 4 : MODES[mode].bands) * (depth === 'ushort' ? 2 : 1)
    if (data.length !== expected) throw badImage(format, `decodes to ${data.length} bytes instead of ${expected}`)
    const base = { width, height, orientation: orientation === 1 ? undefined : orientation }
    if (depth === 'ushort') return { ...base, mode, data: words(data, mode) }
    if (mode === 'LA') return { ...base, mode, data: data.filter((_, i) => i % 4 === 0 || i % 4 === 3) }
    if (mode === 'L' && bitsPerSample === 1) return { ...base, mode: '1', data: data.map((v) => v & 1) }
    return { ...base, mode, data }
  } catch (e) {
    if (isAppError(e)) throw e
    const why = e instanceof Error ? e.message.split('\n')[0] : 'cannot be decoded'
    if (/exceeds pixel limit/i.test(why!))
      throw new AppError('IMAGE_TOO_LARGE', { expected: `at most ${limit} pixels`, cause: e })
    throw badImage(format, `cannot be decoded (${why})`, e)
  }
}

function words(data: Uint8Array, mode: Mode): Uint8Array | Uint16Array {
  const all = new Uint16Array(data.slice().buffer)
  return mode === 'I;16' ? all : Uint8Array.from(all, (v) => v >> 8)
}
