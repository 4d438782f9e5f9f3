import type { Manifest } from '../../manifest.ts'
import type { HttpResponse } from '../../types.ts'
import type { TensorsCall } from '../protocol.ts'
import { writeColumns, writeRows } from './answer.ts'
import { EXAMPLES_INPUT, type ExamplesAction, readExamples } from './examples.ts'
import { readPredict } from './predict.ts'
import { classifyOutputs, regressOutputs, writeClasses, writeRegressions } from './results.ts'

/** What a request asks of the model, and how its answer is written. */
export function readCall(body: Uint8Array, manifest: Manifest, action: string | undefined): TensorsCall {
  return action === 'predict' ? predict(body, manifest) : examples(body, manifest, action as ExamplesAction)
}

function predict(body: Uint8Array, manifest: Manifest): TensorsCall {
  const { signature, feeds, form } = readPredict(body, manifest)
  const write = form === 'row' ? writeRows : writeColumns
  return { kind: 'tensors', signature, feeds, encode: (outputs, spec) => ok(write(outputs, spec)) }
}

function examples(body: Uint8Array, manifest: Manifest, action: ExamplesAction): TensorsCall {
  const { signature, examples: serialized } = readExamples(body, manifest, action)
  const [outputsOf, write] =
    action === 'classify' ? [classifyOutputs, writeClasses] : [regressOutputs, writeRegressions]
  const count = serialized.data.length
  return {
    kind: 'tensors',
    signature,
    feeds: { [EXAMPLES_INPUT]: serialized },
    wanted: outputsOf(manifest.signatures[signature]!),
    encode: (outputs) => ok(write(outputs, count)),
  }
}

function ok(body: string): HttpResponse {
  return { status: 200, headers: { 'content-type': 'application/json' }, body }
}
