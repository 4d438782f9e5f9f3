import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { type ErrorCode, isAppError } from '../../src/errors.ts'
import { concat, Image, image, npResize, npResizeRepeat, stack } from '../../src/image/index.ts'
import { tensor } from '../../src/tensor.ts'

const file = (name: string): Uint8Array => readFileSync(new URL(`../fixtures/image/files/${name}`, import.meta.url))
const throws = (code: ErrorCode, fn: () => unknown) =>
  assert.throws(fn, (e: unknown) => isAppError(e) && e.code === code)

/** 2 wide, 1 high: (10,20,30) and (40,50,60) */
const rgb = new Image('test', { mode: 'RGB', width: 2, height: 1, data: Uint8Array.of(10, 20, 30, 40, 50, 60) })

test('layouts', () => {
  const cases = {
    NHWC: [
      [1, 1, 2, 3],
      [10, 20, 30, 40, 50, 60],
    ],
    NCHW: [
      [1, 3, 1, 2],
      [10, 40, 20, 50, 30, 60],
    ],
    HWC: [
      [1, 2, 3],
      [10, 20, 30, 40, 50, 60],
    ],
    CHW: [
      [3, 1, 2],
      [10, 40, 20, 50, 30, 60],
    ],
    flat: [
      [1, 6],
      [10, 20, 30, 40, 50, 60],
    ],
  } as const
  for (const [layout, [shape, data]] of Object.entries(cases)) {
    const t = rgb.tensor({ layout: layout as keyof typeof cases })
    assert.deepEqual([t.dtype, t.shape, [...t.data]], ['float32', shape, data], layout)
  }
})

test('scale, mean and std by channel, and BGR', () => {
  const t = rgb.tensor({ layout: 'CHW', scale: 1 / 10, mean: [1, 2, 3], std: [1, 2, 5] })
  assert.deepEqual([...t.data], [0, 3, 0, 1.5, 0, 0.6].map(Math.fround))
  assert.deepEqual([...rgb.tensor({ layout: 'flat', channels: 'BGR', mean: [1, 2, 3] }).data], [29, 18, 7, 59, 48, 37])
  assert.deepEqual([...rgb.tensor({ layout: 'CHW', channels: 'BGR' }).data], [30, 60, 20, 50, 10, 40])
  assert.deepEqual(rgb.tensor({ channels: 'L' }).shape, [1, 1, 2, 1])
})

test('pixels / 255 are the float32 nearest to the quotient, as numpy and TensorFlow divide', () => {
  const ramp = new Image('test', {
    mode: 'L',
    width: 256,
    height: 1,
    data: Uint8Array.from({ length: 256 }, (_, i) => i),
  })
  const got = ramp.tensor({ layout: 'flat', scale: 1 / 255 }).data
  for (let i = 0; i < 256; i++) assert.equal(got[i], Math.fround(i / 255))
})

test('dtypes', async () => {
  assert.deepEqual(rgb.tensor({ dtype: 'int64', layout: 'flat' }).data, BigInt64Array.of(10n, 20n, 30n, 40n, 50n, 60n))
  assert.deepEqual(rgb.tensor({ dtype: 'uint8', layout: 'flat' }).data, Uint8Array.of(10, 20, 30, 40, 50, 60))
  assert.deepEqual(rgb.tensor({ dtype: 'int8', layout: 'flat', mean: 20.5 }).data, Int8Array.of(-10, 0, 9, 19, 29, 39))
  assert.deepEqual(
    rgb.tensor({ dtype: 'float16', layout: 'flat', scale: 0.05 }).data,
    Uint16Array.of(0x3800, 0x3c00, 0x3e00, 0x4000, 0x4100, 0x4200),
  )
  assert.deepEqual(rgb.tensor({ dtype: 'bfloat16', layout: 'flat', scale: 0.1 }).data[0], 0x3f80)
  const deep = await image(file('grey16.png'))
  assert.deepEqual(deep.tensor({ dtype: 'uint16', layout: 'HWC' }).data, deep.array().data)
  assert.ok(Math.max(...(deep.tensor({ scale: 1 / 65535 }).data as Float32Array)) <= 1)
})

test('array() is np.array(image)', async () => {
  const shapes = {
    'grey1.png': 'bool 13,19',
    'palette4.png': 'uint8 13,19',
    'grey16.png': 'uint16 13,19',
    'la8.png': 'uint8 13,19,2',
  }
  for (const [name, want] of Object.entries(shapes)) {
    const a = (await image(file(name))).array()
    assert.equal(`${a.dtype} ${a.shape}`, want, name)
  }
  const a = rgb.array()
  ;(a.data as Uint8Array)[0] = 99
  assert.equal(rgb.pixels.data[0], 10, 'a copy')
})

test('npResize is ndarray.resize: cut or zeros, never scaling', async () => {
  assert.deepEqual([...npResize(rgb, [1, 4]).data], [10, 20, 30, 40])
  const longer = npResize(rgb.tensor(), [2, 4])
  assert.deepEqual([longer.dtype, longer.shape, [...longer.data]], ['float32', [2, 4], [10, 20, 30, 40, 50, 60, 0, 0]])
  const big = npResize(tensor('int64', [2], BigInt64Array.of(1n, 2n)), [3])
  assert.deepEqual(big.data, BigInt64Array.of(1n, 2n, 0n))
  assert.deepEqual(npResize(rgb, [0]).data, new Uint8Array())
  throws('HOOK_FAILED', () => npResize(rgb, [-1, 784]))
  throws('WRONG_DTYPE', () => npResize(tensor('string', [1], ['a']), [1]))
})

test('npResizeRepeat is np.resize', () => {
  assert.deepEqual([...npResizeRepeat(rgb, [14]).data], [10, 20, 30, 40, 50, 60, 10, 20, 30, 40, 50, 60, 10, 20])
  assert.deepEqual([...npResizeRepeat(rgb, [2]).data], [10, 20])
  assert.deepEqual([...npResizeRepeat(tensor('uint8', [0], new Uint8Array()), [2]).data], [0, 0])
})

test('stack and concat', () => {
  assert.deepEqual(stack([rgb, rgb, rgb]).shape, [3, 1, 2, 3])
  assert.deepEqual(stack([rgb, rgb], { layout: 'CHW' }).shape, [2, 3, 1, 2])
  assert.deepEqual(stack([rgb, rgb], { layout: 'flat', dtype: 'int64' }).data.length, 12)
  assert.deepEqual(stack([rgb.array(), rgb.array()]).shape, [2, 1, 2, 3])
  assert.deepEqual(concat([rgb.tensor({ layout: 'flat' }), npResize(rgb.tensor(), [2, 6])]).shape, [3, 6])
  assert.deepEqual(concat([tensor('string', [1], ['a']), tensor('string', [2], ['b', 'c'])]).data, ['a', 'b', 'c'])
  throws('WRONG_SHAPE', () => stack([rgb, rgb.resize([3, 3])]))
  throws('WRONG_SHAPE', () => concat([tensor('uint8', [1], new Uint8Array(1)), tensor('int8', [1], new Int8Array(1))]))
  throws('HOOK_FAILED', () => stack([]))
})

test('crop', () => {
  assert.deepEqual([...rgb.crop([1, 0, 2, 1]).array().data], [40, 50, 60])
  const around = rgb.crop([-1, -1, 3, 2])
  assert.deepEqual(around.size, [4, 3])
  assert.deepEqual([...around.array().data.slice(12, 24)], [0, 0, 0, 10, 20, 30, 40, 50, 60, 0, 0, 0])
  assert.deepEqual([...rgb.crop([5, 5, 6, 6]).array().data], [0, 0, 0])
})

test('wrong arguments are the author’s fault and named', () => {
  const wrong = (fn: () => unknown, message: RegExp) =>
    assert.throws(fn, (e: unknown) => isAppError(e) && e.code === 'HOOK_FAILED' && message.test(e.message))
  wrong(() => rgb.resize([0, 5]), /image\.resize/)
  wrong(() => rgb.resize([28.5, 5]), /\[28\.5,5\]/)
  wrong(() => rgb.resize([1e6, 1e6]), /at most/)
  wrong(() => rgb.resize([2, 2], 'cubic' as 'bicubic'), /nearest, box, bilinear.*received cubic/)
  wrong(() => rgb.resize([2, 2], 'toString' as 'bicubic'), /received toString/)
  wrong(() => rgb.resize([2, 2], 'box', [0, 0, 3, 1]), /a box within 2 x 1/)
  wrong(() => rgb.convert('HSV' as 'L'), /1, L, LA, RGB, RGBA.*received HSV/)
  wrong(() => rgb.tensor({ layout: 'WHC' as 'HWC' }), /NHWC, NCHW/)
  wrong(() => rgb.tensor({ dtype: 'float8' as 'float32' }), /float32, float64/)
  wrong(() => rgb.tensor({ mean: [1, 2] }), /3 channels/)
  wrong(() => rgb.tensor({ std: 0 }), /image\.tensor std/)
  wrong(() => rgb.crop([0, 0, 0, 0]), /image\.crop/)
})
