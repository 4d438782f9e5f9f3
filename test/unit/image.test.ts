import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { inflateSync } from 'node:zlib'
import type { Box, Filter, LoadImgOptions, TargetMode } from '../../src/image/index.ts'
import { image, imgToArray, loadImg } from '../../src/image/index.ts'
import { type DType, fromBytes, type Tensor } from '../../src/tensor.ts'

/* Against what Pillow and Keras made of the same files: test/fixtures/image/make.py */

interface Recorded {
  file: string
  dtype: string
  shape: number[]
  data: string
}
interface Expected {
  decode: (Recorded & { mode: string })[]
  convert: (Recorded & { to: TargetMode; dither?: false })[]
  upright: Recorded[]
  resize: (Recorded & { size: [number, number]; filter: Filter; box?: Box })[]
  keras: (Recorded & { options: Record<string, unknown> })[]
}

const here = new URL('../fixtures/image/', import.meta.url)
const expected: Expected = JSON.parse(readFileSync(new URL('expected.json', here), 'utf8'))
const file = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`files/${name}`, here)))
const recorded = (r: Recorded): Tensor =>
  fromBytes(r.dtype as Exclude<DType, 'string'>, r.shape, new Uint8Array(inflateSync(Buffer.from(r.data, 'base64'))))

/** how far apart, having checked that dtype and shape agree */
function distance(got: Tensor, want: Tensor, what: string): number {
  assert.equal(got.dtype, want.dtype, what)
  assert.deepEqual(got.shape, want.shape, what)
  let most = 0
  for (let i = 0; i < want.data.length; i++) most = Math.max(most, Math.abs(Number(got.data[i]) - Number(want.data[i])))
  return most
}

// GIF and palette TIFF come as colours (compared under "convert"); libheif and libavif differ in how they blow up chroma
const COLOURS = new Set(['animated.gif', 'grey.gif', 'palette.gif', 'transparent.gif', 'palette.tif'])
const APART: Record<string, number> = { 'rgb.avif': 2 }

test('every file decodes to the mode and the numbers that Pillow sees', async () => {
  for (const r of expected.decode) {
    if (COLOURS.has(r.file)) continue
    const img = await image(file(r.file))
    assert.equal(img.mode, r.mode, r.file)
    const d = distance(img.array(), recorded(r), r.file)
    assert.ok(d <= (APART[r.file] ?? 0), `${r.file} is ${d} off`)
  }
})

test('every conversion gives the numbers that Pillow gives', async () => {
  for (const r of expected.convert) {
    const what = `${r.file} to ${r.to}${r.dither === false ? ' without dither' : ''}`
    const img = (await image(file(r.file))).convert(r.to, { dither: r.dither ?? true })
    assert.equal(img.mode, r.to)
    assert.equal(distance(img.array(), recorded(r), what), 0, what)
  }
})

test('exif: true turns the picture as ImageOps.exif_transpose does, and the default leaves it', async () => {
  for (const r of expected.upright) {
    const img = await image(file(r.file), { exif: true })
    assert.equal(distance(img.array(), recorded(r), r.file), 0, r.file)
  }
})

test('resize is within one grey level of Pillow, and mostly exact', async () => {
  let exact = 0
  for (const r of expected.resize) {
    const what = `${r.file} to ${r.size} ${r.filter} ${r.box ?? ''}`
    const d = distance((await image(file(r.file))).resize(r.size, r.filter, r.box).array(), recorded(r), what)
    assert.ok(d <= 1, `${what} is ${d} off`)
    if (d === 0) exact++
  }
  assert.ok(exact >= expected.resize.length * 0.95, `only ${exact} of ${expected.resize.length} exact`)
})

test('loadImg and imgToArray are keras.utils.load_img and img_to_array', async () => {
  for (const r of expected.keras) {
    const o = r.options as Record<string, never>
    const options: LoadImgOptions = {
      colorMode: o.color_mode,
      targetSize: o.target_size,
      interpolation: o.interpolation,
      keepAspectRatio: o.keep_aspect_ratio,
    }
    const what = `${r.file} ${JSON.stringify(r.options)}`
    const d = distance(imgToArray(await loadImg(file(r.file), options)), recorded(r), what)
    assert.ok(d <= 1, `${what} is ${d} off`)
  }
})
