import type { Sharp, SharpOptions } from 'sharp'
import { AppError } from '../errors.ts'
import { badImage, type Mode, type Pixels, type SizeGuard } from './pixels.ts'

type Open = (bytes: Uint8Array, options: SharpOptions) => Sharp

let opening: Promise<Open> | undefined

/** sharp costs 13-30 ms of a cold start, so it is loaded by the first image that needs it and by nothing else. */
function sharp(): Promise<Open> {
  opening ??= load().catch((cause: unknown) => {
    opening = undefined
    throw new AppError('LOAD_FAILED', {
      expected: 'the image layer (sharp)',
      got: 'none that loads',
      fix: 'Attach the image layer to the function; PNG and BMP files need none.',
      cause,
    })
  })
  return opening
}

async function load(): Promise<Open> {
  const { default: open } = await import('sharp')
  // one image at a time in one small process: threads and a cache of decoded files only cost memory
  open.concurrency(1)
  open.cache(false)
  return open
}

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
    input.toColourspace(depth === 'ushort' ? `${mode === 'I;16' ? 'grey' : 'rgb'}16` : space)
    const raw = await input.raw({ depth }).toBuffer()
    // a plain array over it: a Buffer's slice() would be a view
    const data = new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength)
    const base = { width, height, orientation: orientation === 1 ? undefined : orientation }
    if (depth === 'uchar') return { ...base, ...(bitsPerSample === 1 && mode === 'L' ? bilevel(data) : { mode, data }) }
    const words = new Uint16Array(data.slice().buffer)
    return { ...base, mode, data: mode === 'I;16' ? words : Uint8Array.from(words, (v) => v >> 8) }
  } catch (e) {
    if (e instanceof AppError) throw e
    const why = e instanceof Error ? e.message.split('\n')[0] : 'cannot be decoded'
    if (/exceeds pixel limit/i.test(why!))
      throw new AppError('IMAGE_TOO_LARGE', { expected: `at most ${limit} pixels`, cause: e })
    throw badImage(format, `cannot be decoded (${why})`, e)
  }
}

/** A 1-bit TIFF arrives as 0 and 255; Pillow's mode is 1. */
function bilevel(data: Uint8Array): { mode: Mode; data: Uint8Array } {
  return { mode: '1', data: data.map((v) => v & 1) }
}
