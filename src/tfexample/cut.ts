import { bytesFromString } from '../bytestring.ts'
import type { CutRun } from '../cuts.ts'
import { AppError } from '../errors.ts'
import type { CutSpec } from '../manifest.ts'
import { spell } from '../tensor.ts'
import { parseExamples } from './parse.ts'
import type { ExampleSpec } from './spec.ts'

/** The step of a session that parses serialized tf.Examples. */
export function parseExampleCut(cut: CutSpec): CutRun {
  const spec = cut.spec as Readonly<Record<string, unknown>> & ExampleSpec
  const rank = spec.single ? 0 : 1
  return ([serialized]) => {
    const t = serialized!
    if (!Array.isArray(t.data) || t.shape.length !== rank)
      throw new AppError('WRONG_SHAPE', {
        where: `serialized tf.Examples (${cut.inputs[0]})`,
        expected: spell('string', spec.single ? [] : [null]),
        got: spell(t.dtype, t.shape),
      })
    return parseExamples(spec, t.data.map(bytesFromString))
  }
}
