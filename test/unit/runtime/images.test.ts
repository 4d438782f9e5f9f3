import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32, deflateSync } from 'node:zlib'
import { type Answer, form, type Package, serve } from './support.ts'

/** The mean grey of the picture four times is the row; the answer says what was seen. */
const seeing: Package = {
  fields: { images: { kind: 'file', required: true } },
  source: `exports.default = class extends base {
    async _preprocess({ images }) {
      const [file] = Object.values(images)
      const { pixels } = (await lib.image(file)).convert('L').resize([2, 2])
      return { images: [Array.from(pixels.data, (x) => x / 255)] }
    }
    _postprocess({ scores }) { return scores[0] }
  }`,
}

function png(width: number, height: number, rows = deflateSync(new Uint8Array((width + 1) * height))): Buffer {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const ends = Buffer.alloc(8)
    ends.writeUInt32BE(data.length, 0)
    ends.writeUInt32BE(crc32(body), 4)
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)])
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  head[8] = 8
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10])
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', rows), chunk('IEND', new Uint8Array())])
}
const small = png(28, 28)
const tiff = Buffer.concat([Buffer.from('II*\0'), Buffer.alloc(20)])

/** what is sent as 7.png → status, code and words of the answer */
const FILES: Record<string, [Uint8Array, number, string, ...string[]]> = {
  'a truncated PNG': [small.subarray(0, small.length - 26), 400, 'BAD_IMAGE'],
  'a PNG cut in its header': [small.subarray(0, 12), 400, 'BAD_IMAGE'],
  'text named .png': [Buffer.from('hello, I am a text'), 400, 'BAD_IMAGE', 'but received text'],
  '0 bytes': [new Uint8Array(), 400, 'BAD_IMAGE'],
  'a bomb: a small file that says 60,000 x 60,000': [
    png(60_000, 60_000, deflateSync(new Uint8Array(1000))),
    413,
    'IMAGE_TOO_LARGE',
    '50000000',
  ],
  'a bomb: rows that inflate far past the picture': [
    png(10, 10, deflateSync(new Uint8Array(50_000_000))),
    413,
    'IMAGE_TOO_LARGE',
  ],
  'a damaged TIFF': [tiff, 400, 'BAD_IMAGE'],
}

for (const [name, [bytes, status, code, ...texts]] of Object.entries(FILES))
  test(`${name}: right status, right body, one line, and the next request works`, async () => {
    const { send, lines } = serve(seeing)
    const upload = (content: Uint8Array): Promise<Answer> => send({ form: form({ '7.png': Uint8Array.from(content) }) })
    const answer = await upload(bytes)
    assert.equal(answer.status, status, String(answer.body))
    assert.equal(answer.json.erno, 'MR.0101')
    assert.equal(answer.json.code, code)
    for (const text of texts) assert.ok(answer.json.detail.includes(text), answer.json.detail)
    assert.equal(lines.length, 1)
    assert.equal(lines[0]!.error!.code, code)
    assert.equal((await upload(small)).json.length, 3)
  })

test('5,000 x 5,000 pixels are a picture', async () => {
  const { send } = serve(seeing)
  assert.equal((await send({ form: form({ '7.png': Uint8Array.from(png(5000, 5000)) }) })).json.length, 3)
})
