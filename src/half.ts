// float16 and bfloat16, whose tensors keep bits in a Uint16Array.
const f32 = new Float32Array(1)
const u32 = new Uint32Array(f32.buffer)

/** The upper half of a float32, rounded to nearest even. */
export function toBfloat(v: number): number {
  f32[0] = v
  const bits = u32[0]!
  if (Number.isNaN(v)) return 0x7fc0
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

export function fromBfloat(bits: number): number {
  u32[0] = bits << 16
  return f32[0]!
}

/** IEEE half precision bits, rounded to nearest even. */
export function toHalf(v: number): number {
  f32[0] = v
  const x = u32[0]!
  const sign = (x >>> 16) & 0x8000
  const abs = x & 0x7fffffff
  if (abs > 0x7f800000) return sign | 0x7e00
  if (abs >= 0x477ff000) return sign | 0x7c00
  if (abs < 0x38800000) {
    // subnormal: scale by 2^24 and round to nearest even
    const scaled = Math.abs(f32[0]!) * 2 ** 24
    const low = Math.floor(scaled)
    const up = scaled - low > 0.5 || (scaled - low === 0.5 && low % 2 === 1)
    return sign | (low + (up ? 1 : 0))
  }
  const rounded = abs + 0xfff + ((abs >>> 13) & 1)
  return sign | ((rounded - 0x38000000) >>> 13)
}

export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const e = (bits >>> 10) & 31
  const m = bits & 1023
  if (e === 0) return sign * m * 2 ** -24
  if (e === 31) return m ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (1 + m / 1024) * 2 ** (e - 15)
}
