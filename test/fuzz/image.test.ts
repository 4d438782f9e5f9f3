import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { isAppError } from '../../src/errors.ts'
import { image } from '../../src/image/index.ts'

/* Damaged files of every format: an image within the limit comes out, or one of our errors. */

const files = new URL('../fixtures/image/files/', import.meta.url)
const LIMIT = 1_000_000
const CODES = new Set(['BAD_IMAGE', 'IMAGE_TOO_LARGE', 'UNSUPPORTED_IMAGE'])

/** mulberry32: the same damage on every run */
function random(seed: number): (below: number) => number {
  let a = seed
  return (below) => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const DAMAGES: readonly ((b: Uint8Array, r: (n: number) => number) => Uint8Array)[] = [
  // the header is where the sizes and kinds are
  (b, r) => b.with(r(Math.min(b.length, 64)), r(256)),
  (b, r) => b.with(r(b.length), r(256)),
  (b, r) => {
    const out = b.slice()
    for (let i = 0; i < 12; i++) out[r(b.length)] = r(256)
    return out
  },
  (b, r) => b.slice(0, r(b.length)),
  (b, r) => {
    const [at, n] = [r(b.length), r(40)]
    return Uint8Array.from([...b.slice(0, at), ...b.slice(at + n)])
  },
  (b, r) => {
    const out = b.slice()
    out.fill(r(2) * 255, r(b.length)).set(b.slice(0, 30))
    return out
  },
]

test('only images and labelled errors come out of damaged files', async () => {
  const before = process.memoryUsage().rss
  const seen: Record<string, number> = {}
  for (const name of readdirSync(files)) {
    const whole = Uint8Array.from(readFileSync(new URL(name, files)))
    const r = random(whole.length * 31 + name.length)
    const ours = /png$|bmp$/.test(name)
    for (let i = 0; i < (ours ? 60 : 24); i++) {
      const bytes = DAMAGES[i % DAMAGES.length]!(whole, r)
      try {
        const img = await image(bytes, { limit: LIMIT, exif: i % 2 === 0 })
        assert.ok(img.width * img.height <= LIMIT)
        img.convert('L').resize([8, 8]).tensor()
        seen.image = (seen.image ?? 0) + 1
      } catch (e) {
        assert.ok(isAppError(e) && CODES.has(e.code), `${name} #${i}: ${e instanceof Error ? e.stack : e}`)
        seen[e.code] = (seen[e.code] ?? 0) + 1
      }
    }
  }
  // the damage reaches both sides of every check
  for (const outcome of ['image', ...CODES]) assert.ok((seen[outcome] ?? 0) > 0, `${outcome} never seen`)
  assert.ok(process.memoryUsage().rss - before < 400_000_000)
})
