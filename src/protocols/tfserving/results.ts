import { AppError } from '../../errors.ts'
import type { Signature } from '../../manifest.ts'
import type { Tensor } from '../../tensor.ts'
import { formatFloat, formatString } from '../../tensorjson/format.ts'
import type { Tensors } from '../../types.ts'
import { wrap } from './answer.ts'

/** What each method reads of its signature's outputs. */
const CLASSES = 'classes'
const SCORES = 'scores'
const OUTPUTS = 'outputs'

/** The outputs that :classify asks for. */
export function classifyOutputs({ outputs }: Signature): string[] {
  const wanted = [CLASSES, SCORES].filter((alias) => Object.hasOwn(outputs, alias))
  const count = Object.keys(outputs).length
  if (count !== 1 && count !== 2) throw wrong(`Expected one or two output Tensors, found ${count}`)
  if (wanted.length > 0) return wanted
  throw wrong(`Expected classification signature outputs to contain at least one of "${CLASSES}" or "${SCORES}"`)
}

export function regressOutputs({ outputs }: Signature): string[] {
  if (Object.keys(outputs).length !== 1) throw wrong('Expected one output Tensor.')
  if (Object.hasOwn(outputs, OUTPUTS)) return [OUTPUTS]
  throw wrong('No regression outputs found in SignatureDef')
}

/** `[[[label, score], …], …]`; a label that the model does not give is empty, a score 0. */
export function writeClasses(outputs: Tensors, examples: number): string {
  const [classes, scores] = [outputs[CLASSES], outputs[SCORES]]
  if (classes) checkMatrix(classes, 'string', CLASSES, examples)
  if (scores) checkMatrix(scores, 'float32', SCORES, examples)
  const width = (classes ?? scores)!.shape[1]!
  if (classes && scores && scores.shape[1] !== width)
    throw wrong(`Tensors class and score should match in dim_size(1). Got ${width} vs. ${scores.shape[1]}`)
  const rows = Array.from({ length: examples }, (_, row) => {
    const pairs = Array.from({ length: width }, (_, c) => {
      const at = row * width + c
      return `[${formatString(String(classes?.data[at] ?? ''))}, ${formatFloat(Number(scores?.data[at] ?? 0))}]`
    })
    return `[${pairs.join(', ')}]`
  })
  return wrap('results', `[${rows.join(', ')}\n    ]`)
}

/** `[value, …]` */
export function writeRegressions(outputs: Tensors, examples: number): string {
  const t = outputs[OUTPUTS]!
  const { shape } = t
  if (!(shape.length === 1 || (shape.length === 2 && shape[1] === 1)))
    throw wrong(`Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [${shape}]`)
  if (shape[0] !== examples)
    throw wrong(`Input batch size did not match output batch size: ${examples} vs. ${shape[0]}`)
  if (t.dtype !== 'float32') throw wrong(`Expected output Tensor of DT_FLOAT.  Got: ${t.dtype}`)
  return wrap('results', `[${Array.from(t.data as Float32Array, formatFloat).join(', ')}]`)
}

function checkMatrix(t: Tensor, dtype: 'string' | 'float32', alias: string, examples: number): void {
  if (t.shape.length !== 2) throw wrong(`Expected Tensor shape: [batch_size num_classes] but got [${t.shape}]`)
  const name = dtype === 'string' ? 'DT_STRING' : 'DT_FLOAT'
  if (t.dtype !== dtype) throw wrong(`Expected ${alias} Tensor of ${name}. Got: ${t.dtype}`)
  if (t.shape[0] !== examples) throw wrong(`Expected ${alias} output batch size of ${examples}. Got: ${t.shape[0]}`)
}

/** The signature promises what its method does not read: TensorFlow Serving tells the caller. */
function wrong(reply: string): AppError {
  return new AppError('BAD_REQUEST', { where: 'the signature', got: reply, reply })
}
