import { bytesFromString } from '../bytestring.ts'
import type { CutRun } from '../cuts.ts'
import { AppError } from '../errors.ts'
import type { CutSpec } from '../manifest.ts'
import { spell, type Tensor } from '../tensor.ts'
import { parseExamples } from './parse.ts'
import { parseSequences } from './sequence.ts'
import type { ExampleSpec, SequenceSpec } from './spec.ts'

/** The step of a session that parses serialized tf.Examples. */
export function parseExampleCut(cut: CutSpec): CutRun {
  const spec = cut.spec as Readonly<Record<string, unknown>> & ExampleSpec
  return ([serialized]) => parseExamples(spec, examplesOf(cut, serialized!, spec))
}

/** The same for tf.SequenceExamples. */
export function parseSequenceCut(cut: CutSpec): CutRun {
  const spec = cut.spec as Readonly<Record<string, unknown>> & SequenceSpec
  return ([serialized]) => parseSequences(spec, examplesOf(cut, serialized!, spec))
}

function examplesOf(
  cut: CutSpec,
  t: Tensor,
  { single, flat }: { readonly single: boolean; readonly flat?: boolean },
): Uint8Array[] {
  const fits = flat ? !single || t.data.length === 1 : t.shape.length === (single ? 0 : 1)
  if (Array.isArray(t.data) && fits) return t.data.map(bytesFromString)
  throw new AppError('WRONG_SHAPE', {
    where: `serialized tf.Examples (${cut.inputs[0]})`,
    expected: spell('string', single ? [] : [null]),
    got: spell(t.dtype, t.shape),
  })
}
