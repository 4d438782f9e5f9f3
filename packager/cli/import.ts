import { basename } from 'node:path'
import { type Command, many, one } from './command.ts'
import { bytes, table } from './table.ts'

export const importCommand: Command = {
  name: 'import',
  summary: 'Turn a TensorFlow, Keras or ONNX model into an ONNX file.',
  text: 'Inputs and outputs are named by the aliases of the signature; for a graph without signature by tensor name, for a Keras model by its input and output names. Nothing is written unless every operator can be imported exactly.',
  args: [
    {
      name: '<model>',
      text: 'SavedModel folder, .keras, .h5, .pb, checkpoint, TensorFlow.js folder, architecture .json or .onnx',
    },
  ],
  options: [
    { flags: '-o, --output-file <file>', text: 'where to write the ONNX file' },
    { flags: '--signature <name>', text: 'which signature (default: the only one, or serving_default)' },
    { flags: '--tag <tag>', text: 'tag of the MetaGraph, once for each tag', repeat: true },
    { flags: '--output <tensor>', text: 'tensor to compute, for graphs without signature', repeat: true },
    { flags: '--weights <file>', text: 'weights of an architecture in JSON (default: the ones beside it)' },
    { flags: '--report', text: 'print operators, parameters, size and estimated memory' },
  ],
  examples: [
    'modelayer import saved_model -o model.onnx',
    'modelayer import model.h5 --report',
    'modelayer import frozen.pb --output probabilities:0 -o model.onnx',
  ],
  async run(input, io) {
    const { importToFile } = await import('../importfile.ts')
    const [path, file] = [input.args[0]!, one(input, 'outputFile')]
    const done = await importToFile(
      path,
      file,
      {
        signature: one(input, 'signature'),
        tags: many(input, 'tag'),
        outputs: many(input, 'output'),
        weights: one(input, 'weights'),
      },
      io,
    )
    const spell = (t: Record<string, { dtype: string; shape: readonly (number | null)[] | null }>) =>
      Object.entries(t).map(
        ([alias, s]) =>
          `  ${alias}: ${s.dtype} ${s.shape ? `[${s.shape.map((d) => d ?? '?').join(', ')}]` : 'of any rank'}`,
      )
    const text = [
      `${done.format}, signature ${done.signature}${file ? ` → ${basename(file)} (${bytes(done.bytes)})` : ''}`,
      'inputs',
      ...spell(done.inputs),
      'outputs',
      ...spell(done.outputs),
    ]
    if (input.options.report === true) {
      text.push(
        '',
        `${done.nodes} nodes, ${done.parameters.toLocaleString('en-US')} parameters, ${bytes(done.weightBytes)} of weights, about ${bytes(done.memoryBytes)} in memory at batch 1`,
      )
      text.push(
        table(
          ['operator', 'count'],
          Object.entries(done.ops).sort((a, b) => b[1] - a[1]),
        ),
      )
      text.push(
        table(
          ['pass', 'nodes before', 'after'],
          done.passes.map((p) => [p.pass, p.before, p.after]),
        ),
      )
    }
    io.result(done, text.join('\n'))
    return 0
  },
}
