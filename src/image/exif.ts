import type { Pixels } from './pixels.ts'
import { MODES } from './pixels.ts'

/** The orientation tag (0x0112) in an EXIF block, with or without its `Exif\0\0` prefix; undefined where there is none. */
export function orientationOf(exif: Uint8Array): number | undefined {
  const start = exif[0] === 0x45 ? 6 : 0
  if (exif.length < start + 8) return undefined
  const view = new DataView(exif.buffer, exif.byteOffset + start, exif.byteLength - start)
  const little = view.getUint16(0) === 0x4949
  const ifd = view.getUint32(4, little)
  if (ifd + 2 > view.byteLength) return undefined
  const entries = view.getUint16(ifd, little)
  for (let i = 0, at = ifd + 2; i < entries && at + 12 <= view.byteLength; i++, at += 12)
    if (view.getUint16(at, little) === 0x0112) return view.getUint16(at + 8, little)
  return undefined
}

/**
 * How each orientation reads its source: [exchange axes, from the right, from the bottom].
 * The same eight moves as Pillow's ImageOps.exif_transpose.
 */
const MOVES: Readonly<Record<number, readonly [boolean, boolean, boolean]>> = {
  2: [false, true, false],
  3: [false, true, true],
  4: [false, false, true],
  5: [true, false, false],
  6: [true, false, true],
  7: [true, true, true],
  8: [true, true, false],
}

/** The picture as it was meant to be seen. */
export function upright(p: Pixels): Pixels {
  const move = MOVES[p.orientation ?? 1]
  if (!move) return p
  const [swap, right, bottom] = move
  const bands = MODES[p.mode].bands
  const [width, height] = swap ? [p.height, p.width] : [p.width, p.height]
  const data = p.data.slice()
  let o = 0
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const sx = swap ? y : x
      const sy = swap ? x : y
      const from = ((bottom ? p.height - 1 - sy : sy) * p.width + (right ? p.width - 1 - sx : sx)) * bands
      for (let k = 0; k < bands; k++) data[o++] = p.data[from + k]!
    }
  return { ...p, width, height, data, orientation: undefined }
}
