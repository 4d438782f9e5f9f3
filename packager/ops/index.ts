import { ARRAY } from './array.ts'
import { BITWISE } from './bitwise.ts'
import { CAST } from './cast.ts'
import { COLOUR } from './colour.ts'
import { COMPARE } from './compare.ts'
import { COMPLEX } from './complexmath.ts'
import { CONTROL } from './control.ts'
import { CONV } from './conv.ts'
import { CORE } from './core.ts'
import { CROP } from './crop.ts'
import { DECODE } from './decode.ts'
import { DIAG } from './diag.ts'
import { DISTORT } from './distort.ts'
import { EINSUM } from './einsum.ts'
import { FFT } from './fft.ts'
import { FUSED } from './fused.ts'
import { SPECIAL } from './gamma.ts'
import { GATHER } from './gather.ts'
import { LINALG } from './linalg.ts'
import { MATH } from './math.ts'
import { MATMUL } from './matmul.ts'
import { NMS } from './nms.ts'
import { NN } from './nn.ts'
import { NORM } from './norm.ts'
import type { OpTable } from './op.ts'
import { PAD } from './pad.ts'
import { PARSE } from './parse.ts'
import { PARSE_SEQUENCE } from './parsesequence.ts'
import { POOL } from './pool.ts'
import { QUANTIZE } from './quantize.ts'
import { RAGGED } from './ragged.ts'
import { RANDOM } from './random.ts'
import { REDUCE } from './reduce.ts'
import { RESIZE } from './resize.ts'
import { RNN } from './rnn.ts'
import { SCAN } from './scan.ts'
import { SCATTER } from './scatter.ts'
import { SEGMENT } from './segment.ts'
import { SET_OPS } from './setops.ts'
import { SETS } from './sets.ts'
import { SLICE } from './slice.ts'
import { SPACE } from './space.ts'
import { SPARSE } from './sparse.ts'
import { SPLIT } from './split.ts'
import { STATELESS } from './stateless.ts'
import { STRINGS } from './strings.ts'
import { TABLES } from './tables.ts'
import { TENSOR_ARRAY } from './tensorarray.ts'
import { TENSOR_LIST } from './tensorlist.ts'
import { VARIANT } from './variant.ts'

/** One file per family; a test checks that no op has two rows. */
export const FAMILIES = {
  CORE,
  MATH,
  STATELESS,
  SPECIAL,
  RANDOM,
  QUANTIZE,
  LINALG,
  FFT,
  EINSUM,
  DIAG,
  COMPLEX,
  SPLIT,
  SPACE,
  SETS,
  SEGMENT,
  SCATTER,
  SCAN,
  PAD,
  GATHER,
  COMPARE,
  CAST,
  BITWISE,
  REDUCE,
  MATMUL,
  ARRAY,
  SLICE,
  NN,
  CONV,
  POOL,
  NORM,
  FUSED,
  RESIZE,
  CROP,
  DECODE,
  DISTORT,
  COLOUR,
  NMS,
  TABLES,
  STRINGS,
  SPARSE,
  SET_OPS,
  RAGGED,
  VARIANT,
  CONTROL,
  TENSOR_LIST,
  TENSOR_ARRAY,
  RNN,
  PARSE,
  PARSE_SEQUENCE,
} as const satisfies Record<string, OpTable>

/** The op table: every TensorFlow op that can be imported. */
export const OPS: OpTable = Object.freeze(Object.assign(Object.create(null), ...Object.values(FAMILIES)))

/** What to say of an op without a row: the closest one by name. */
export function nearestOp(name: string): string {
  let best = ''
  let least = Math.max(2, Math.floor(name.length / 3))
  for (const known of Object.keys(OPS)) {
    const d = distance(name.toLowerCase(), known.toLowerCase(), least)
    if (d < least) [best, least] = [known, d]
  }
  return best ? `not in the op table; the nearest one that is: ${best}` : 'not in the op table'
}

/** Levenshtein distance, given up at `limit`. */
export function distance(a: string, b: string, limit = Number.POSITIVE_INFINITY): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length]!
}
