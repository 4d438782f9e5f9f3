import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpTable, op, unsupported } from './op.ts'
import { clamped, element, rounded, sizeAt, steps } from './resize.ts'

const num = (value: number, b: Builder): Value => b.scalar('float32', value)
const add = (x: Value, y: Value, b: Builder): Value => b.op('Add', [x, y])
const sub = (x: Value, y: Value, b: Builder): Value => b.op('Sub', [x, y])
const mul = (x: Value, y: Value, b: Builder): Value => b.op('Mul', [x, y])

/** Images as rows of channels, so that one Gather picks pixels anywhere. */
interface Pixels {
  readonly rows: Value
  readonly height: Value
  readonly width: Value
}

function pixelsOf(images: Value, dtype: Value['dtype'], b: Builder): Pixels {
  const channels = b.dim(images, 3)
  const flat = b.op('Reshape', [images, b.concat([b.ints([-1]), channels], 0)])
  const rows = dtype === 'float32' ? b.cast(flat, 'float32') : flat
  return { rows, height: sizeAt(images, 1, b), width: sizeAt(images, 2, b) }
}

/** Pixels at image, row and column, which broadcast against each other; indices are clamped, so look at validity apart. */
function pick(p: Pixels, image: Value, y: Value, x: Value, b: Builder): Value {
  const row = add(mul(image, p.height, b), clamped(y, p.height, b), b)
  return b.gather(p.rows, add(mul(row, p.width, b), clamped(x, p.width, b), b))
}

const mix = (low: Value, high: Value, share: Value, b: Builder): Value => add(low, mul(sub(high, low, b), share, b), b)

/** Sample positions of one axis for every box, [boxes, count]: corners are aligned; one sample lies in the middle. */
function cropPositions(from: Value, to: Value, size: Value, count: Value, b: Builder): Value {
  const top = sub(b.cast(size, 'float32'), num(1, b), b)
  const spans = b.op('Max', [sub(b.cast(count, 'float32'), num(1, b), b), num(1, b)])
  const scale = b.op('Div', [mul(sub(to, from, b), top, b), spans])
  const many = add(mul(from, top, b), mul(steps(count, b), scale, b), b)
  const one = mul(mul(num(0.5, b), add(from, to, b), b), top, b)
  return b.op('Where', [b.op('Greater', [count, b.int(1)]), many, one])
}

/** Where coordinates fall outside of an image and the mode repeats it in some way (MapCoordinate of image_ops.h). */
function mapped(at: Value, size: Value, mode: string, b: Builder): Value {
  const length = b.cast(size, 'float32')
  const last = sub(length, num(1, b), b)
  const into = (v: Value) => b.op('Min', [b.op('Max', [v, num(0, b)]), last])
  const times = (v: Value, unit: Value) => b.op('Floor', [b.op('Div', [v, unit])])
  const where = (test: Value, yes: Value, no: Value) => b.op('Where', [test, yes, no])
  const below = b.op('Less', [at, num(0, b)])
  const above = b.op('Greater', [at, last])
  if (mode === 'NEAREST') return into(at)
  const single = b.op('LessOrEqual', [size, b.int(1)])
  if (mode === 'WRAP') {
    // C truncates towards zero: -at / last is positive, so Floor is the same
    const unit = b.op('Max', [last, num(1, b)])
    const low = add(at, mul(length, add(times(b.op('Neg', [at]), unit), num(1, b), b), b), b)
    const high = sub(at, mul(length, times(at, unit), b), b)
    return into(where(single, num(0, b), where(below, low, where(above, high, at))))
  }
  const twice = mul(length, num(2, b), b)
  const shifted = add(at, mul(twice, times(b.op('Neg', [at]), twice), b), b)
  const far = b.op('Less', [shifted, b.op('Neg', [length])])
  const low = where(far, add(shifted, twice, b), sub(b.op('Neg', [shifted]), num(1, b), b))
  const rest = sub(at, mul(twice, times(at, twice), b), b)
  const high = where(b.op('GreaterOrEqual', [rest, length]), sub(sub(twice, rest, b), num(1, b), b), rest)
  return into(where(single, num(0, b), where(below, low, where(above, high, at))))
}

const projective = op({
  in: ['images', 'transforms', 'output_shape', 'fill_value?'],
  attrs: { interpolation: 'string', fill_mode: ['CONSTANT', 'REFLECT', 'WRAP', 'NEAREST'] },
  emit: (n, b) => {
    const { images, transforms } = n.in
    const dtype = images.dtype
    if (dtype === 'complex64' || dtype === 'complex128' || dtype === 'string') throw unsupported(n, 'numbers', dtype)
    const bilinear = n.attrs.interpolation === 'BILINEAR'
    const pixels = pixelsOf(images, bilinear ? 'float32' : dtype, b)
    const coefficient = (i: number) => b.unsqueeze(b.slice(transforms, [i], [i + 1], [1]), [2])
    const x = steps(element(n.in.output_shape, 1, b), b)
    const y = b.unsqueeze(steps(element(n.in.output_shape, 0, b), b), [1])
    const line = (i: number) => add(mul(coefficient(i), x, b), mul(coefficient(i + 1), y, b), b)
    const projection = add(line(6), num(1, b), b)
    const flat = b.op('Equal', [projection, num(0, b)])
    const divisor = b.op('Where', [flat, num(1, b), projection])
    const along = (i: number, size: Value) => {
      const at = b.op('Div', [add(line(i), coefficient(i + 2), b), divisor])
      return n.attrs.fill_mode === 'CONSTANT' ? at : mapped(at, size, n.attrs.fill_mode, b)
    }
    const [atX, atY] = [along(0, pixels.width), along(3, pixels.height)]
    const batch = b.reshape(b.op('Range', [b.int(0), sizeAt(images, 0, b), b.int(1)]), [-1, 1, 1])
    const fill = n.in.fill_value ? b.cast(n.in.fill_value, 'float32') : num(0, b)
    const inside = (v: Value, size: Value) =>
      b.op('And', [b.op('GreaterOrEqual', [v, num(0, b)]), b.op('Less', [v, b.cast(size, 'float32')])])
    const read = (py: Value, px: Value): Value => {
      const valid = b.op('And', [inside(py, pixels.height), inside(px, pixels.width)])
      const safe = (v: Value) => b.op('Where', [valid, v, num(0, b)])
      const value = pick(pixels, batch, int64(safe(py), b), int64(safe(px), b), b)
      return b.op('Where', [b.unsqueeze(valid, [-1]), value, bilinear ? fill : b.cast(fill, dtype)])
    }
    const absolute = (v: Value) => {
      const r = rounded(b.op('Abs', [v]), b)
      return b.op('Where', [b.op('Less', [v, num(0, b)]), b.op('Neg', [r]), r])
    }
    let value: Value
    if (bilinear) {
      const [fx, fy] = [b.op('Floor', [atX]), b.op('Floor', [atY])]
      const [cx, cy] = [add(fx, num(1, b), b), add(fy, num(1, b), b)]
      const share = (v: Value) => b.unsqueeze(v, [-1])
      const [left, right] = [share(sub(cx, atX, b)), share(sub(atX, fx, b))]
      const row = (at: Value) => add(mul(left, read(at, fx), b), mul(right, read(at, cx), b), b)
      value = add(mul(share(sub(cy, atY, b)), row(fy), b), mul(share(sub(atY, fy, b)), row(cy), b), b)
    } else value = read(absolute(atY), absolute(atX))
    const flatFill = bilinear ? fill : b.cast(fill, dtype)
    return b.cast(b.op('Where', [b.unsqueeze(flat, [-1]), flatFill, value]), dtype)
  },
})

/** Pixels picked at computed places. */
export const CROP = {
  CropAndResize: op({
    in: ['image', 'boxes', 'box_ind', 'crop_size'],
    attrs: { method: ['bilinear', 'nearest'], extrapolation_value: 0 },
    emit: (n, b) => {
      const { image, boxes, box_ind, crop_size } = n.in
      const pixels = pixelsOf(image, 'float32', b)
      const edge = (i: number) => b.slice(boxes, [i], [i + 1], [1])
      const y = b.unsqueeze(cropPositions(edge(0), edge(2), pixels.height, element(crop_size, 0, b), b), [2])
      const x = b.unsqueeze(cropPositions(edge(1), edge(3), pixels.width, element(crop_size, 1, b), b), [1])
      // TensorFlow refuses an index outside of the batch; the last one past it makes Gather refuse it, too
      const index = int64(box_ind, b)
      const outside = b.op('Or', [
        b.op('Less', [index, b.int(0)]),
        b.op('GreaterOrEqual', [index, sizeAt(image, 0, b)]),
      ])
      const which = b.reshape(b.op('Where', [outside, b.int(2 ** 31), index]), [-1, 1, 1])
      const at = (py: Value, px: Value) => pick(pixels, which, int64(py, b), int64(px, b), b)
      let value: Value
      if (n.attrs.method === 'nearest') value = at(rounded(y, b), rounded(x, b))
      else {
        const [top, bottom] = [b.op('Floor', [y]), b.op('Ceil', [y])]
        const [left, right] = [b.op('Floor', [x]), b.op('Ceil', [x])]
        const across = b.unsqueeze(sub(x, left, b), [-1])
        const row = (py: Value) => mix(at(py, left), at(py, right), across, b)
        value = mix(row(top), row(bottom), b.unsqueeze(sub(y, top, b), [-1]), b)
      }
      const inside = (v: Value, size: Value) =>
        b.op('And', [
          b.op('GreaterOrEqual', [v, num(0, b)]),
          b.op('LessOrEqual', [v, sub(b.cast(size, 'float32'), num(1, b), b)]),
        ])
      const valid = b.unsqueeze(b.op('And', [inside(y, pixels.height), inside(x, pixels.width)]), [-1])
      const out = b.op('Where', [valid, value, num(n.attrs.extrapolation_value, b)])
      const [h, w] = crop_size.part ?? []
      const shape = [boxes.shape?.[0], h, w, image.shape?.[3]].map((d) => d ?? b.fresh())
      return b.as(out, { shape })
    },
  }),
  ImageProjectiveTransformV2: projective,
  ImageProjectiveTransformV3: projective,
} satisfies OpTable
