/**
 * Hashes of byte strings that TensorFlow's models rely on, over unsigned 64-bit integers: FarmHash's Fingerprint64
 * (StringToHashBucketFast, sparse crosses), SipHash-2-4 (StringToHashBucketStrong) and the older Hash64 (StringToHashBucket).
 */
const K0 = 0xc3a5c85c97cb3127n
const K1 = 0xb492b66fbe98f273n
const K2 = 0x9ae16a3b2f90404fn

const u64 = (v: bigint): bigint => BigInt.asUintN(64, v)
const rotate = (v: bigint, by: bigint): bigint => u64((v >> by) | (v << (64n - by)))
const left = (v: bigint, by: bigint): bigint => rotate(v, 64n - by)
const shiftMix = (v: bigint): bigint => v ^ (v >> 47n)

function hashLen16(u: bigint, v: bigint, mul: bigint): bigint {
  const a = shiftMix(u64((u ^ v) * mul))
  return u64(shiftMix(u64((v ^ a) * mul)) * mul)
}

type Pair = readonly [bigint, bigint]

function weakHash32(s: Buffer, at: number, seedA: bigint, seedB: bigint): Pair {
  const [w, x, y, z] = [0, 8, 16, 24].map((o) => s.readBigUInt64LE(at + o)) as [bigint, bigint, bigint, bigint]
  const first = u64(seedA + w)
  const a = u64(first + x + y)
  const b = u64(rotate(u64(seedB + first + z), 21n) + rotate(a, 44n))
  return [u64(a + z), u64(b + first)]
}

function upTo16(s: Buffer): bigint {
  const n = s.length
  const mul = u64(K2 + BigInt(n) * 2n)
  if (n >= 8) {
    const a = u64(s.readBigUInt64LE(0) + K2)
    const b = s.readBigUInt64LE(n - 8)
    return hashLen16(u64(rotate(b, 37n) * mul + a), u64((rotate(a, 25n) + b) * mul), mul)
  }
  if (n >= 4) return hashLen16(BigInt(n + s.readUInt32LE(0) * 8), BigInt(s.readUInt32LE(n - 4)), mul)
  if (n === 0) return K2
  const y = BigInt(s[0]! + (s[n >> 1]! << 8))
  const z = BigInt(n + (s[n - 1]! << 2))
  return u64(shiftMix(u64(y * K2) ^ u64(z * K0)) * K2)
}

function upTo64(s: Buffer): bigint {
  const n = s.length
  const at = (i: number) => s.readBigUInt64LE(i)
  const mul = u64(K2 + BigInt(n) * 2n)
  const long = n > 32
  const a = u64(at(0) * (long ? K2 : K1))
  const b = at(8)
  const c = u64(at(n - 8) * mul)
  const d = u64(at(n - 16) * K2)
  const y = u64(rotate(u64(a + b), 43n) + rotate(c, 30n) + d)
  const z = hashLen16(y, u64(a + rotate(u64(b + K2), 18n) + c), mul)
  if (!long) return z
  const e = u64(at(16) * mul)
  const f = at(24)
  const g = u64((y + at(n - 32)) * mul)
  const h = u64((z + at(n - 24)) * mul)
  return hashLen16(u64(rotate(u64(e + f), 43n) + rotate(g, 30n) + h), u64(e + rotate(u64(f + a), 18n) + g), mul)
}

/** farmhashna::Hash64, which is FarmHash's Fingerprint64. */
export function fingerprint64(bytes: Uint8Array): bigint {
  const s = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (s.length <= 16) return upTo16(s)
  if (s.length <= 64) return upTo64(s)
  const get = (i: number) => s.readBigUInt64LE(i)
  let y = u64(81n * K1 + 113n)
  let z = u64(shiftMix(u64(y * K2 + 113n)) * K2)
  let x = u64(81n * K2 + get(0))
  let [v, w]: [Pair, Pair] = [
    [0n, 0n],
    [0n, 0n],
  ]
  const round = (at: number, mul: bigint, nine: bigint): void => {
    x = u64(rotate(u64(x + y + v[0] + get(at + 8)), 37n) * mul)
    y = u64(rotate(u64(y + v[1] + get(at + 48)), 42n) * mul)
    x ^= u64(w[1] * nine)
    y = u64(y + v[0] * nine + get(at + 40))
    z = u64(rotate(u64(z + w[0]), 33n) * mul)
    v = weakHash32(s, at, u64(v[1] * mul), u64(x + w[0]))
    w = weakHash32(s, at + 32, u64(z + w[1]), u64(y + get(at + 16)))
    const swapped = z
    z = x
    x = swapped
  }
  const end = (s.length - 1) & ~63
  for (let at = 0; at < end; at += 64) round(at, K1, 1n)
  const mul = u64(K1 + ((z & 0xffn) << 1n))
  const rest = (s.length - 1) & 63
  w = [u64(w[0] + BigInt(rest)), w[1]]
  v = [u64(v[0] + w[0]), v[1]]
  w = [u64(w[0] + v[0]), w[1]]
  round(end + rest - 63, mul, 9n)
  const p = u64(hashLen16(v[0], w[0], mul) + shiftMix(y) * K0 + z)
  return hashLen16(p, u64(hashLen16(v[1], w[1], mul) + x), mul)
}

/** Joins two fingerprints in order (tensorflow/core/platform/fingerprint.h). */
export function fingerprintCat64(a: bigint, b: bigint): bigint {
  const mul = 0xc6a4a7935bd1e995n
  const mixed = u64(a ^ mul) // the seed of the first
  const result = u64(mixed ^ u64(shiftMix(u64(b * mul)) * mul))
  return u64(shiftMix(u64(shiftMix(u64(result * mul)) * mul)))
}

/** SipHash-2-4 under a key of two 64-bit numbers. */
export function sipHash(bytes: Uint8Array, key: Pair): bigint {
  const s = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let v0 = key[0] ^ 0x736f6d6570736575n
  let v1 = key[1] ^ 0x646f72616e646f6dn
  let v2 = key[0] ^ 0x6c7967656e657261n
  let v3 = key[1] ^ 0x7465646279746573n
  const rounds = (count: number): void => {
    for (let i = 0; i < count; i++) {
      v0 = u64(v0 + v1)
      v1 = left(v1, 13n) ^ v0
      v0 = left(v0, 32n)
      v2 = u64(v2 + v3)
      v3 = left(v3, 16n) ^ v2
      v0 = u64(v0 + v3)
      v3 = left(v3, 21n) ^ v0
      v2 = u64(v2 + v1)
      v1 = left(v1, 17n) ^ v2
      v2 = left(v2, 32n)
    }
  }
  const block = (m: bigint): void => {
    v3 ^= m
    rounds(2)
    v0 ^= m
  }
  const whole = s.length & ~7
  for (let at = 0; at < whole; at += 8) block(s.readBigUInt64LE(at))
  const last = Buffer.alloc(8)
  s.copy(last, 0, whole)
  last[7] = s.length & 0xff
  block(last.readBigUInt64LE(0))
  v2 ^= 0xffn
  rounds(4)
  return v0 ^ v1 ^ v2 ^ v3
}

/** TensorFlow's own Hash64 with its default seed (tsl/platform/hash.cc), a variant of MurmurHash64A. */
export function hash64(bytes: Uint8Array): bigint {
  const s = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const m = 0xc6a4a7935bd1e995n
  let h = 0xdecafcaffen ^ u64(BigInt(s.length) * m)
  const whole = s.length & ~7
  for (let at = 0; at < whole; at += 8) h = u64((h ^ u64(shiftMix(u64(s.readBigUInt64LE(at) * m)) * m)) * m)
  if (whole < s.length) {
    const last = Buffer.alloc(8)
    s.copy(last, 0, whole)
    h = u64((h ^ last.readBigUInt64LE(0)) * m)
  }
  return shiftMix(u64(shiftMix(h) * m))
}
