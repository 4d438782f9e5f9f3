import { AppError, isAppError } from '../../src/errors.ts'
import { toHalf } from '../../src/half.ts'
import { DTYPES, type DType, fromBytes, sizeOf, type Tensor } from '../../src/tensor.ts'

/** An HDF5 file as far as Keras uses it. Paths go through groups: `layers/dense/vars/0`. */
export interface Hdf5 {
  has(path: string): boolean
  /** names inside a group, in the file's own order */
  keys(path: string): string[]
  /** a string or strings of an attribute; undefined where there is none */
  text(path: string, attribute: string): string | string[] | undefined
  tensor(path: string): Tensor
}

const MAGIC = Buffer.from('\x89HDF\r\n\x1a\n', 'latin1')

export function isHdf5(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, 8))
}

/** Little- and big-endian codes of numbers as the library spells them. */
const CODES: Readonly<Record<string, DType>> = {
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
}

/** gzip packs a thousand zeros into one byte; nothing honest holds more elements than this for each byte of its file. */
const MOST_PER_BYTE = 1100

interface Node {
  attrs?: Record<string, unknown>
  keys?: string[]
  get?(name: string): Node | null | undefined
  shape?: number[]
  dtype?: unknown
  value?: unknown
  _dataobjects?: {
    find_msg_type?(type: number): ReadonlyMap<string, unknown>[]
    _get_data_message_properties?(offset: number): readonly [number, number, number, number]
  }
}

/**
 * Opens HDF5 bytes. The reader is jsfive: it starts in 10 ms where the C library compiled to WebAssembly needs 180.
 * @throws {AppError} BAD_MODEL_FILE
 */
export async function openHdf5(bytes: Uint8Array, where: string): Promise<Hdf5> {
  if (bytes.length === 0)
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'an HDF5 file', got: 'an empty file' })
  if (!isHdf5(bytes))
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'an HDF5 file', got: 'a file of another kind' })
  const { File, Group } = await import('jsfive')
  // the library reads the whole buffer behind a view
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
  const buffer = whole ? bytes.buffer : Uint8Array.from(bytes).buffer
  const guarded = <T>(path: string, read: () => T): T => {
    try {
      return read()
    } catch (e) {
      if (isAppError(e)) throw e
      throw new AppError('BAD_MODEL_FILE', {
        where: `${where}${path === '' ? '' : `, ${path}`}`,
        expected: 'an HDF5 file that can be read',
        got: `damage (${e instanceof Error ? e.message : String(e)})`.slice(0, 200),
        cause: e,
      })
    }
  }
  const root = guarded('', () => new File(buffer as ArrayBuffer, where) as unknown as Node)
  const nodes = new Map<string, Node | undefined>([['', root]])
  const find = (path: string): Node | undefined => {
    if (nodes.has(path)) return nodes.get(path)
    const cut = path.lastIndexOf('/')
    const parent = find(path.slice(0, Math.max(0, cut)))
    const name = path.slice(cut + 1)
    const node = parent instanceof Group && parent.keys?.includes(name) ? (parent.get?.(name) ?? undefined) : undefined
    nodes.set(path, node)
    return node
  }
  const at = (path: string): Node => {
    const node = find(path)
    if (node) return node
    throw new AppError('BAD_MODEL_FILE', { where, expected: `'${path}'`, got: 'nothing at this path' })
  }
  return {
    has: (path) => guarded(path, () => find(path) !== undefined),
    keys: (path) => guarded(path, () => [...((find(path) as Node | undefined)?.keys ?? [])]),
    text: (path, attribute) =>
      guarded(path, () => {
        const value = find(path)?.attrs?.[attribute]
        if (typeof value === 'string') return value.replace(/\0+$/, '')
        return Array.isArray(value) ? value.map((v) => String(v).replace(/\0+$/, '')) : undefined
      }),
    tensor: (path) => guarded(path, () => tensorOf(at(path), `${where}, ${path}`, buffer as ArrayBuffer)),
  }
}

function tensorOf(node: Node, where: string, buffer: ArrayBuffer): Tensor {
  const shape = node.shape ?? []
  const size = sizeOf(shape)
  if (!(size <= buffer.byteLength * MOST_PER_BYTE))
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'no more elements than the file can hold', got: `${size}` })
  const spelled = node.attrs?.dtype === 'bfloat16' ? 'bfloat16' : String(node.dtype)
  const dtype = spelled === 'bfloat16' ? spelled : CODES[spelled.replace(/^[<>=|]/, '')]
  if (!dtype || dtype === 'string')
    throw new AppError('BAD_MODEL_FILE', { where, expected: 'a dataset of numbers', got: `dtype ${spelled}` })
  const raw = spelled.startsWith('>') ? undefined : rawBytes(node, size * DTYPES[dtype].bytes, buffer)
  return raw ? fromBytes(dtype, shape, raw) : converted(node, dtype, shape, where)
}

/** Class of datasets that lie in one piece in the file. */
const CONTIGUOUS = 1
const STORAGE_MESSAGE = 8

/**
 * The bytes of a dataset in one piece: a view, where the library's own `value` is an array of as many JavaScript numbers. Its inner
 * objects say where they are; without them, or for other layouts, the caller has to do with `value`.
 */
function rawBytes(node: Node, size: number, buffer: ArrayBuffer): Uint8Array | undefined {
  const inner = node._dataobjects
  const message = inner?.find_msg_type?.(STORAGE_MESSAGE)[0]
  const properties = message && inner?._get_data_message_properties?.(message.get('offset_to_message') as number)
  if (!properties || properties[2] !== CONTIGUOUS) return undefined
  const address = new DataView(buffer).getBigUint64(properties[3], true)
  if (address + BigInt(size) > BigInt(buffer.byteLength)) return undefined
  return new Uint8Array(buffer, Number(address), size)
}

function converted(node: Node, dtype: Exclude<DType, 'string'>, shape: readonly number[], where: string): Tensor {
  const size = sizeOf(shape)
  const values = node.value as ArrayLike<number | bigint> | number | bigint | undefined
  const list = typeof values === 'object' ? values : [values ?? 0]
  if (list.length !== size)
    throw new AppError('BAD_MODEL_FILE', { where, expected: `${size} elements`, got: `${list.length}` })
  const array = new DTYPES[dtype].array(size) as { [i: number]: number | bigint } & Tensor['data']
  const big = dtype === 'int64' || dtype === 'uint64'
  // storage that was never written reads as holes and means zero
  for (let i = 0; i < size; i++) {
    const v = list[i] ?? 0
    array[i] = big ? BigInt(v) : dtype === 'float16' ? toHalf(Number(v)) : Number(v)
  }
  return { dtype, shape, data: array }
}
