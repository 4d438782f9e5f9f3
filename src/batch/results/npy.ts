import { AppError } from '../../errors.ts'
import { npyDescr, npyHeader } from '../../npy.ts'
import { bytesOf, DTYPES, type DType, sizeOf, spell, type Tensor } from '../../tensor.ts'
import type { Result, ResultFormat, WriteContext } from '../types.ts'

/** More than 32 dimensions of a row take; what is left is spaces. */
const HEADER = 256

interface State {
  readonly rows: number
  /** failed records before the first answer */
  readonly waiting: number
  readonly dtype?: DType
  /** of a row */
  readonly shape?: readonly number[]
}

/**
 * An array with a row for each record, also for those that failed: NaN there, or 0 where the dtype has no NaN, and which they are
 * stands in the errors. Of several outputs `outputFilter` names one, as in `$.scores`.
 */
export const npyResult = {
  name: 'npy',
  contentType: 'application/x-npy',
  key: ({ prefix, key, run }) => `${prefix}${key}.${run}.npy`,
  reserve: HEADER,
  open: (context) => {
    const alias = aliasOf(context)
    // told before the first record, where there is no spelling
    npyDescr(context.signature.outputs[alias]!.dtype)
    let state: State = (context.state as State | undefined) ?? { rows: 0, waiting: 0 }

    function row(r: Result): Uint8Array {
      if (!r.ok) {
        if (state.dtype) return filler(state.dtype, state.shape!)
        state = { ...state, waiting: state.waiting + 1 }
        return new Uint8Array(0)
      }
      const t = r.tensors[alias]
      if (t?.shape[0] !== 1) throw wrong('one row of an output tensor', t ? spell(t.dtype, t.shape) : 'none')
      const shape = t.shape.slice(1)
      if (state.dtype === undefined) {
        npyDescr(t.dtype)
        const before = Array.from({ length: state.waiting }, () => filler(t.dtype, shape))
        state = { ...state, waiting: 0, dtype: t.dtype, shape }
        return Buffer.concat([...before, bytesOf(t)])
      }
      if (String(shape) !== String(state.shape)) throw wrong(spell(t.dtype, state.shape), spell(t.dtype, shape))
      return bytesOf(t)
    }

    return {
      write(r) {
        const bytes = row(r)
        state = { ...state, rows: state.rows + 1 }
        return bytes
      },
      end() {
        if (state.dtype) return ''
        const [dtype, shape] = declared(context, alias)
        state = { ...state, dtype, shape }
        return filler(dtype, [state.waiting, ...shape])
      },
      head: () => npyHeader(npyDescr(state.dtype!), [state.rows, ...state.shape!], HEADER),
      state: () => state,
    }
  },
} as const satisfies ResultFormat

function aliasOf({ signature, options }: WriteContext): string {
  const names = Object.keys(signature.outputs)
  const named = options.outputFilter?.replace(/^\$\.?/, '').replace(/^\['(.*)'\]$/, '$1')
  const alias = named ? named : names.length === 1 ? names[0] : undefined
  if (alias !== undefined && names.includes(alias)) return alias
  throw new AppError('USAGE', {
    where: 'outputFilter',
    expected: names.map((n) => `$.${n}`).join(' or '),
    got: named ? 'another' : 'none',
  })
}

function declared({ signature }: WriteContext, alias: string): [DType, readonly number[]] {
  const { dtype, shape } = signature.outputs[alias]!
  return [dtype, (shape ?? [null]).slice(1).map((d) => d ?? 0)]
}

const FLOATS: ReadonlySet<DType> = new Set(['float32', 'float64'])

function filler(dtype: DType, shape: readonly number[]): Uint8Array {
  npyDescr(dtype)
  const data = new DTYPES[dtype].array(sizeOf(shape))
  if (FLOATS.has(dtype)) (data as Float32Array).fill(Number.NaN)
  if (dtype === 'float16') (data as Uint16Array).fill(0x7e00)
  return bytesOf({ dtype, shape, data } as Tensor)
}

const wrong = (expected: string, got: string) => new AppError('HOOK_RESULT', { where: 'a .npy result', expected, got })
