import type { DecodeSpec } from '../../src/image/cut.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type AnyNode, type OpTable, op, unsupported } from './op.ts'
import { trace } from './program.ts'

const NOTE =
  'one image from an input of the signature, 8 bits a channel; the runtime decodes it before the graph runs, JPEG with the accurate transform (TensorFlow takes the fast one unless told otherwise: a few grey levels of difference)'

/** The graph is cut behind the decoder: the pixels are an input that the runtime computes from the file. */
function decoded(n: AnyNode, contents: Value, a: Omit<DecodeSpec, 'op' | 'steps' | 'outputs'>, b: Builder): Value {
  const target = { op: 'Identity', inputs: [contents], outputs: [{ name: '', dtype: 'string', shape: [] } as const] }
  const program = trace(n, target, b, true)
  if (!program) throw unsupported(n, 'an image file that comes from an input of the signature', 'a computed string')
  const { inputs, steps, outputs } = program
  const shape = [b.fresh(), b.fresh(), a.channels === 0 ? b.fresh() : a.channels]
  const spec: DecodeSpec = { ...a, op: n.op, steps, outputs }
  const pixels = { name: n.name, dtype: a.dtype, shape }
  return n.env.cut({ kind: 'decodeImage', node: n.node, inputs, outputs: [pixels], spec: { ...spec } })[0]!
}

function bits(n: AnyNode, dtype: unknown): 'uint8' {
  if (dtype !== undefined && dtype !== 'uint8') throw unsupported(n, 'uint8', String(dtype))
  return 'uint8'
}

const STILL = ['JPEG', 'PNG'] as const

/** Images in the files that clients send. */
export const DECODE = {
  DecodeJpeg: op({
    in: ['contents'],
    attrs: { channels: 0, ratio: 1, fancy_upscaling: true, try_recover_truncated: false, acceptable_fraction: 1 },
    note: NOTE,
    emit: (n, b) => {
      if (n.attrs.ratio !== 1) throw unsupported(n, 'ratio 1', String(n.attrs.ratio))
      if (!n.attrs.fancy_upscaling) throw unsupported(n, 'fancy_upscaling', 'plain upscaling')
      return decoded(n, n.in.contents, { channels: n.attrs.channels, dtype: 'uint8', formats: STILL }, b)
    },
  }),
  DecodePng: op({
    in: ['contents'],
    attrs: { channels: 0, dtype: null },
    note: NOTE,
    emit: (n, b) =>
      decoded(n, n.in.contents, { channels: n.attrs.channels, dtype: bits(n, n.attrs.dtype), formats: STILL }, b),
  }),
  DecodeBmp: op({
    in: ['contents'],
    attrs: { channels: 0 },
    note: NOTE,
    emit: (n, b) => decoded(n, n.in.contents, { channels: n.attrs.channels, dtype: 'uint8', formats: ['BMP'] }, b),
  }),
  DecodeImage: op({
    in: ['contents'],
    attrs: { channels: 0, dtype: null, expand_animations: true },
    note: `${NOTE}; no animations: a GIF is refused where TensorFlow would give four dimensions`,
    emit: (n, b) => {
      const dtype = n.attrs.dtype === 'float32' ? 'float32' : bits(n, n.attrs.dtype)
      const formats = [...STILL, 'BMP', ...(n.attrs.expand_animations ? [] : ['GIF'])]
      return decoded(n, n.in.contents, { channels: n.attrs.channels, dtype, formats }, b)
    },
  }),
} satisfies OpTable
