import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openNpz } from '../../packager/formats/npz.ts'
import { readNpy, writeNpy } from '../../src/npy.ts'
import { fixture, type Recorded, tensorOf } from '../fixtures/show/read.ts'

const FILES = fixture<Recorded & { name: string; b64: string }>('npy.json')
const bytesOf = (name: string) => Buffer.from(FILES.find((f) => f.name === name)!.b64, 'base64')

test('what numpy saved is read', () => {
  const arrays = FILES.filter((f) => f.data)
  assert.ok(arrays.length >= 9)
  for (const f of arrays) assert.deepEqual(readNpy(bytesOf(f.name), f.name), tensorOf(f), f.name)
})

test('what is written is what numpy would write', () => {
  for (const name of ['plain', 'scalar', 'half', 'bool', 'bytes', 'empty']) {
    const file = bytesOf(name)
    assert.ok(file.equals(writeNpy(readNpy(file))), name)
  }
  assert.throws(() => writeNpy({ dtype: 'string', shape: [1], data: ['a\0'] }), { code: 'WRONG_DTYPE', message: /NUL/ })
  assert.throws(() => writeNpy({ dtype: 'bfloat16', shape: [1], data: new Uint16Array(1) }), { code: 'WRONG_DTYPE' })
})

test('pickled objects and damaged files are refused', () => {
  assert.throws(() => readNpy(bytesOf('objects')), { code: 'BAD_REQUEST', message: /pickled code.*astype\('S'\)/ })
  const plain = bytesOf('plain')
  for (let n = 0; n < plain.length; n++)
    assert.throws(() => readNpy(plain.subarray(0, n)), { name: 'AppError', code: 'BAD_REQUEST' }, `${n} bytes`)
  const huge = Buffer.from(plain.toString('latin1').replace('(2, 3), }', '(99999999999, 3), }'), 'latin1')
  assert.throws(() => readNpy(huge), { code: 'BAD_REQUEST' })
})

test('arrays of a .npz by name', () => {
  const npz = openNpz(bytesOf('npz'), 'a.npz')
  assert.deepEqual(npz.names, ['x', 'y'])
  assert.deepEqual(readNpy(npz.read('y')!).data, Float64Array.of(1, 1, 1))
  assert.equal(npz.read('z'), undefined)
  assert.throws(() => openNpz(bytesOf('npz').subarray(0, 60), 'a.npz'), { code: 'BAD_REQUEST' })
})
