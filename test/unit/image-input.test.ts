import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { crc32, deflateSync } from 'node:zlib'
import { type ErrorCode, isAppError } from '../../src/errors.ts'
import { image } from '../../src/image/index.ts'

/* Bad, hostile and unusual files: the right code, and a message that names what came. */

const file = (name: string): Buffer => readFileSync(new URL(`../fixtures/image/files/${name}`, import.meta.url))
const text = (s: string): Buffer => Buffer.from(s, 'latin1')

function chunk(type: string, data: Uint8Array): Buffer {
  const out = Buffer.alloc(12 + data.length)
  out.writeUInt32BE(data.length, 0)
  out.write(type, 4, 'latin1')
  out.set(data, 8)
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length)
  return out
}
/** a grey 8-bit PNG whose header and data need not agree */
function png(width: number, height: number, data: Uint8Array, depth = 8, colour = 0): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([depth, colour], 8)
  const head = [text('\x89PNG\r\n\x1a\n'), chunk('IHDR', header)]
  return Buffer.concat([...head, chunk('IDAT', data), chunk('IEND', new Uint8Array())])
}

async function refused(bytes: Uint8Array, code: ErrorCode, message: RegExp, options = {}): Promise<void> {
  await assert.rejects(image(bytes, options), (e: unknown) => {
    assert.ok(isAppError(e), `${e}`)
    assert.equal(e.code, code, e.message)
    assert.match(e.message, message)
    return true
  })
}

test('what is no image is BAD_IMAGE and is named', async () => {
  await refused(new Uint8Array(), 'BAD_IMAGE', /received nothing \(0 bytes\)/)
  await refused(text('hello, I am a PNG'), 'BAD_IMAGE', /received text \(17 bytes\)/)
  await refused(text('BM is how this text begins, and it goes on'), 'BAD_IMAGE', /received text/)
  await refused(text('<!DOCTYPE html><html><body><svg/></body></html>'), 'BAD_IMAGE', /an HTML page/)
  await refused(text('%PDF-1.7\n%\xe2\xe3'), 'BAD_IMAGE', /a PDF document/)
  await refused(text('PK\x03\x04\0\0'), 'BAD_IMAGE', /a ZIP archive/)
  await refused(text(file('rgb8.png').toString('base64')), 'BAD_IMAGE', /still encoded as base64 text/)
  await refused(text('\x00\x17\xfe\x80\x00'), 'BAD_IMAGE', /bytes of no known image format \(5 bytes\)/)
})

test('a cut or damaged file is BAD_IMAGE and says which format', async () => {
  for (const name of [
    'rgb8.png',
    'grey16.png',
    'palette4_adam7.png',
    'rgb.bmp',
    'rle8.bmp',
    'rgb_420.jpg',
    'rgba.webp',
  ]) {
    const whole = file(name)
    for (const part of [0.3, 0.6, 0.8]) {
      const format = /png|bmp|jpe?g|webp/i.exec(name)![0].replace('jpg', 'jpeg')
      await refused(
        whole.subarray(0, Math.floor(whole.length * part)),
        'BAD_IMAGE',
        new RegExp(`a ${format} file`, 'i'),
      )
    }
  }
  await refused(file('rgb8.png').subarray(0, 20), 'BAD_IMAGE', /a PNG file that has no header/)
  await refused(file('rgb8.png').subarray(0, 40), 'BAD_IMAGE', /a PNG file that has no pixel data/)
  await refused(png(4, 4, text('not deflated')), 'BAD_IMAGE', /damaged pixel data/)
  await refused(png(4, 4, deflateSync(new Uint8Array(10))), 'BAD_IMAGE', /breaks off after 10 of 20 bytes/)
  await refused(png(4, 4, deflateSync(new Uint8Array(20).fill(9))), 'BAD_IMAGE', /filter 9/)
  await refused(png(4, 4, deflateSync(new Uint8Array(20)), 5), 'BAD_IMAGE', /colour type 0 with 5 bits/)
  await refused(png(4, 4, deflateSync(new Uint8Array(20)), 8, 3), 'BAD_IMAGE', /no palette/)
  await refused(png(0, 4, deflateSync(new Uint8Array(20))), 'BAD_IMAGE', /0 x 4/)
  const damaged = Uint8Array.from(file('rgb8.png'))
  damaged[20]! ^= 1
  await refused(damaged, 'BAD_IMAGE', /damaged IHDR/)
})

test('what a PNG holds beyond its pixels does not matter, as for Pillow', async () => {
  const raw = deflateSync(new Uint8Array(20 + 100).fill(0))
  assert.deepEqual((await image(png(4, 4, raw))).size, [4, 4])
  assert.deepEqual((await image(file('rgb8.png').subarray(0, -12))).size, [19, 13])
})

test('too many pixels are refused by the header alone', async () => {
  const tiny = deflateSync(new Uint8Array(20))
  await refused(
    png(60_000, 60_000, tiny),
    'IMAGE_TOO_LARGE',
    /at most 50000000 pixels but received PNG of 60000 x 60000/,
  )
  await refused(png(0xffffffff, 0xffffffff, tiny), 'IMAGE_TOO_LARGE', /4294967295 x 4294967295/)
  const bmp = Uint8Array.from(file('rgb.bmp'))
  new DataView(bmp.buffer).setInt32(18, 2 ** 30, true)
  await refused(bmp, 'IMAGE_TOO_LARGE', /BMP of 1073741824 x 26/)
  const svg = text('<svg xmlns="http://www.w3.org/2000/svg" width="30000" height="30000"/>')
  await refused(svg, 'IMAGE_TOO_LARGE', /at most 50000000 pixels/)
  for (const name of ['rgb8.png', 'rgb.bmp', 'rgb_420.jpg', 'rgb.webp', 'palette.gif', 'rgb_lzw.tif', 'rgb.avif'])
    await refused(file(name), 'IMAGE_TOO_LARGE', /at most 100 pixels/, { limit: 100 })
})

test('a PNG that inflates far beyond its header is refused, and never held whole', async () => {
  const bomb = deflateSync(new Uint8Array(200_000_000))
  const before = process.memoryUsage().rss
  await refused(png(4, 4, bomb), 'IMAGE_TOO_LARGE', /20 bytes of pixels.* inflates to more/)
  assert.ok(process.memoryUsage().rss - before < 50_000_000)
})

test('5000 x 5000 pixels work', async () => {
  const row = new Uint8Array(5001).fill(7, 1)
  const raw = new Uint8Array(5001 * 5000)
  for (let y = 0; y < 5000; y++) raw.set(row, y * 5001)
  const img = await image(png(5000, 5000, deflateSync(raw, { level: 1 })))
  assert.deepEqual(img.resize([28, 28], 'bilinear').array().data, new Uint8Array(784).fill(7))
})

test('formats that nobody here reads are UNSUPPORTED_IMAGE by name', async () => {
  await refused(text('8BPS\0\x01'), 'UNSUPPORTED_IMAGE', /received PSD \(Photoshop\)/)
  await refused(text('\0\0\x01\0\x01\0'), 'UNSUPPORTED_IMAGE', /ICO/)
  await refused(text('\0\0\0\x18ftypheic\0\0\0\0'), 'UNSUPPORTED_IMAGE', /HEIC/)
  await refused(text('\0\0\0\x0cjP  \r\n\x87\n'), 'UNSUPPORTED_IMAGE', /JPEG 2000/)
  await refused(text('P6\n2 2\n255\n'), 'UNSUPPORTED_IMAGE', /Netpbm/)
  await refused(file('float.tif'), 'UNSUPPORTED_IMAGE', /TIFF with 1 channels of type float/)
  const jpegInBmp = Uint8Array.from(file('rgb.bmp'))
  jpegInBmp[30] = 4
  await refused(jpegInBmp, 'UNSUPPORTED_IMAGE', /BMP with 24 bits and compression JPEG/)
})

test('SVG is drawn', async () => {
  const svg = text(
    '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="4" height="2"><rect width="4" height="2" fill="#f00"/></svg>',
  )
  const img = await image(svg)
  assert.deepEqual([img.format, ...img.size], ['SVG', 4, 2])
  assert.deepEqual([...img.convert('RGB').array().data.slice(0, 3)], [255, 0, 0])
})

test('an uploaded file, and what is passed by mistake for one', async () => {
  const bytes = new Uint8Array(file('rgb8.png'))
  const upload = {
    field: 'a',
    fileName: 'b.txt',
    contentType: 'text/plain',
    bytes,
    text: String,
    json: String,
    csv: () => [],
  }
  assert.equal((await image(upload)).format, 'PNG')
  const wrong = async (value: unknown, code: ErrorCode) =>
    assert.rejects(image(value as Uint8Array), (e: unknown) => isAppError(e) && e.code === code)
  await wrong(undefined, 'MISSING_FIELD')
  await wrong('7', 'BAD_IMAGE')
  await wrong({ 'seven.png': upload }, 'HOOK_FAILED')
})

test('PNG and BMP never load sharp, JPEG does', () => {
  const loaded = (name: string): boolean => {
    const code = `
      import { readFileSync } from 'node:fs'
      import { image } from ${JSON.stringify(new URL('../../src/image/index.ts', import.meta.url).href)}
      await image(readFileSync(new URL(${JSON.stringify(new URL(`../fixtures/image/files/${name}`, import.meta.url).href)})))
      console.log(process.report.getReport().sharedObjects.some((path) => path.includes('vips')))`
    const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
      encoding: 'utf8',
    })
    assert.match(child.stdout, /^(true|false)\n$/, child.stderr)
    return child.stdout === 'true\n'
  }
  assert.equal(loaded('palette8_trns.png'), false)
  assert.equal(loaded('rgb.bmp'), false)
  assert.equal(loaded('grey.jpg'), true)
})
