import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAppError } from '../../src/errors.ts'
import { readForm } from '../../src/http/form.ts'
import { parseMultipart } from '../../src/http/multipart.ts'
import { fc } from '../random.ts'
import { serve } from '../unit/runtime/support.ts'

const TYPE = 'multipart/form-data; boundary=B'

function onlyOurs(run: () => unknown) {
  try {
    run()
  } catch (e) {
    assert.ok(isAppError(e), e instanceof Error ? e.stack : String(e))
    assert.equal(e.code, 'BAD_MULTIPART')
  }
}

const token = fc.constantFrom(
  '--B',
  '--B--',
  '\r\n',
  '\n',
  '\r',
  'Content-Disposition: form-data; name="a"',
  '; filename="f"',
  '\r\n\r\n',
  '--',
  '"',
  '\\',
  'x',
  ' ',
  ";filename*=UTF-8''%ff",
  ':',
  ';',
  'Content-Type: text/plain; charset=',
  '\0',
  'é',
)

test('any sequence of what forms are made of is read or refused', () => {
  fc.assert(
    fc.property(fc.array(token, { maxLength: 40 }), (tokens) =>
      onlyOurs(() => readForm(Buffer.from(tokens.join('')), TYPE)),
    ),
    { numRuns: 3000, seed: 1 },
  )
})

test('any bytes and any content type are read or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), (bytes, type) => {
      onlyOurs(() => readForm(bytes, type))
      onlyOurs(() => readForm(bytes, `multipart/form-data; boundary=${type}`))
    }),
    { numRuns: 1000, seed: 2 },
  )
})

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.array(token, { maxLength: 8 }).map((t) => Buffer.from(t.join(''))),
)

test('what is written is read back: names, order and every byte', () => {
  const boundary = 'b0undary-that-no-content-has'
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string({ unit: 'grapheme' }), fc.option(fc.string({ unit: 'grapheme' })), bytes), {
        maxLength: 5,
      }),
      (parts) => {
        const quote = (s: string) => s.replace(/[\r\n"]/g, encodeURIComponent)
        const plain = parts.map(
          ([name, file, body]) => [name.replace(/[\\%\r\n]/g, '_'), file?.replace(/[\\%\r\n]/g, '_'), body] as const,
        )
        const chunks = plain.flatMap(([name, file, body]) => [
          `--${boundary}\r\nContent-Disposition: form-data; name="${quote(name)}"${file === undefined ? '' : `; filename="${quote(file)}"`}\r\n\r\n`,
          body,
          '\r\n',
        ])
        const whole = Buffer.concat([...chunks, `--${boundary}--\r\n`].map((c) => Buffer.from(c as Uint8Array)))
        const got = parseMultipart(whole, `multipart/form-data; boundary=${boundary}`)
        assert.deepEqual(
          got.map((p) => [p.name, p.fileName, [...p.bytes]]),
          plain.map(([n, f, b]) => [n, f, [...b]]),
        )
      },
    ),
    { numRuns: 500, seed: 3 },
  )
})

test('a body cut anywhere is refused, and never read as a shorter one', () => {
  const body = Buffer.from('--B\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\nabc\r\n--B--\r\n')
  const whole = body.lastIndexOf('--') + 2
  for (let n = 0; n < whole; n++)
    assert.throws(
      () => parseMultipart(body.subarray(0, n), TYPE),
      (e) => isAppError(e),
      `${n}`,
    )
  for (let n = whole; n <= body.length; n++) assert.equal(parseMultipart(body.subarray(0, n), TYPE).length, 1)
})

test('time is linear: a megabyte made to hurt', () => {
  const hurt = [
    '\r\n--B',
    '\r\n--Bx',
    '--B\r\n',
    '\r\n',
    '-',
    '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n',
    ';"\\',
  ]
  for (const piece of hurt) {
    const body = Buffer.from(
      `--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n${piece.repeat(2 ** 20 / piece.length)}`,
    )
    onlyOurs(() => readForm(body, TYPE))
    onlyOurs(() => readForm(Buffer.from('x'), `multipart/form-data${piece.repeat(2 ** 14 / piece.length)}`))
  }
})

test('any JSON body gets a proper answer', async () => {
  const { send, lines } = serve({})
  const value = fc.oneof(
    fc.json(),
    fc.jsonValue().map((v) => JSON.stringify({ images: v })),
    fc.string(),
  )
  await fc.assert(
    fc.asyncProperty(value, async (text) => {
      lines.length = 0
      const { status, json } = await send({ text })
      assert.ok(status === 200 || (status >= 400 && status < 500), `${status} for ${text}`)
      assert.notEqual(json, undefined)
      assert.equal(lines.length, 1)
    }),
    { numRuns: 1000, seed: 4 },
  )
})
