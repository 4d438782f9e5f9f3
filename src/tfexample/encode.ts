/** One feature of a tf.train.Example; without a kind where its list is empty and nothing tells it. */
export type FeatureValues =
  | { readonly kind: 'bytes'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'float'; readonly values: readonly number[] }
  | { readonly kind: 'int64'; readonly values: readonly bigint[] }
  | { readonly kind: 'none' }

/** Field numbers with the wire type of what has a length. */
const [FIRST, SECOND] = [10, 18]
const LISTS = { bytes: 10, float: 18, int64: 26 } as const

/** A serialized tf.train.Example. Two of them one behind the other are one Example, in which the later of two features of a name counts. */
export function encodeExample(features: Iterable<readonly [name: string, feature: FeatureValues]>): Buffer {
  const entries = Array.from(features, ([name, feature]) =>
    field(FIRST, Buffer.concat([field(FIRST, Buffer.from(name)), field(SECOND, encodeFeature(feature))])),
  )
  return field(FIRST, Buffer.concat(entries))
}

function encodeFeature(feature: FeatureValues): Buffer {
  return feature.kind === 'none' ? Buffer.alloc(0) : field(LISTS[feature.kind], encodeList(feature))
}

function encodeList(feature: Exclude<FeatureValues, { kind: 'none' }>): Buffer {
  if (feature.kind === 'bytes') return Buffer.concat(feature.values.map((v) => field(FIRST, v)))
  if (feature.kind === 'int64') return field(FIRST, Buffer.concat(feature.values.map(varint)))
  const packed = Buffer.alloc(4 * feature.values.length)
  for (const [i, v] of feature.values.entries()) packed.writeFloatLE(v, 4 * i)
  return field(FIRST, packed)
}

function field(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(tag), varint(BigInt(content.length)), content])
}

/** Negative numbers as ten bytes of two's complement, as protobuf has int64. */
function varint(value: bigint): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  do {
    const more = rest > 127n
    bytes.push(Number(rest & 127n) | (more ? 128 : 0))
    rest >>= 7n
  } while (rest > 0n)
  return Buffer.from(bytes)
}
