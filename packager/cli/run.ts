import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, join, normalize } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { Signature } from '../../src/manifest.ts'
import type { Tensor } from '../../src/tensor.ts'
import type { Nested, Tensors } from '../../src/types.ts'
import { type Command, flag, one } from './command.ts'
import { tagSet } from './show.ts'

export const run: Command = {
  name: 'run',
  summary: 'Run a model once on arrays, as saved_model_cli run does.',
  text: [
    'Prints each output as numpy does. Expressions are Python literals, arithmetic and a part of numpy: np.ones, zeros, full,',
    'arange, linspace, array, eye, random.rand, randn, randint, uniform, reshape, astype, stack and a few more. They are',
    'read by an evaluator of our own and never executed. With --outdir each output is saved as .npy; strings as bytes (S).',
  ].join('\n'),
  args: [],
  options: [
    { flags: '--dir <path>', text: 'folder of the SavedModel, or the file of another model', required: true },
    { flags: '--tag_set <tags>', text: 'tags of the MetaGraph, separated by commas (default: the only one, or serve)' },
    { flags: '--signature_def <key>', text: 'which signature (default: the only one, or serving_default)' },
    { flags: '--inputs <files>', text: "arrays from files: 'a=x.npy;b=y.npz[name]'" },
    {
      flags: '--input_exprs <expressions>',
      text: "arrays from expressions: 'a=[[1.7,0.5]];b=np.random.rand(1,28,28)'",
    },
    { flags: '--input_examples <examples>', text: 'tf.Examples: \'examples=[{"age":[26],"weight":[0.5]}]\'' },
    { flags: '--outdir <dir>', text: 'save each output there as KEY.npy' },
    { flags: '--overwrite', text: 'replace files in --outdir' },
  ],
  examples: [
    "modelayer run --dir saved_model --tag_set serve --signature_def serving_default --input_exprs 'x=[[1.7,0.5,5.1,3.3]]'",
    "modelayer run --dir saved_model --input_exprs 'image=np.random.rand(1,128,128,3)'",
    "modelayer run --dir model.onnx --inputs 'x=batch.npz[x]' --outdir out",
  ],
  async run(input, io) {
    const { readInputs } = await import('../expression/inputs.ts')
    const { toFeed } = await import('../expression/feed.ts')
    const { formatArray } = await import('../expression/numpyformat.ts')
    const { runOnce } = await import('../inspect/once.ts')
    const { order } = await import('../inspect/functions.ts')
    const arrays = readInputs(
      { inputs: one(input, 'inputs'), exprs: one(input, 'input_exprs'), examples: one(input, 'input_examples') },
      io.warn,
    )
    const outdir = one(input, 'outdir')
    let files: ReadonlyMap<string, string> = new Map()
    const feeds = (signature: Signature): Tensors => {
      if (outdir !== undefined) files = targets(outdir, Object.keys(signature.outputs), flag(input, 'overwrite'))
      return Object.fromEntries(
        [...arrays].map(([key, a]) => {
          if (Object.hasOwn(signature.inputs, key)) return [key, toFeed(a, signature.inputs[key]!, key)]
          const known = Object.keys(signature.inputs).join('", "')
          throw new AppError('UNKNOWN_INPUT', {
            got: `"${key}" is not a valid input key. Please choose from "${known}"`,
          })
        }),
      )
    }
    const choice = { tags: tagSet(input), signature: one(input, 'signature_def') }
    const { signature, outputs } = await runOnce(one(input, 'dir')!, choice, feeds, io)
    const lines: string[] = []
    for (const key of Object.keys(outputs).sort(order)) {
      const t = asBytes(outputs[key]!, signature.outputs[key]?.bytes === true)
      lines.push(`Result for output key ${key}:`, formatArray(t))
      const file = files.get(key)
      if (file === undefined) continue
      await save(file, t)
      lines.push(`Output ${key} is saved to ${file}`)
    }
    const { toNested } = await import('../../src/nested.ts')
    const data = Object.fromEntries(
      Object.entries(outputs).map(([key, t]) => [key, { dtype: t.dtype, shape: t.shape, data: plain(toNested(t)) }]),
    )
    io.result({ outputs: data, ...(files.size > 0 && { files: Object.fromEntries(files) }) }, lines.join('\n'))
    return 0
  },
}

/** JSON has no NaN and no infinities. */
const plain = (v: Nested): unknown =>
  Array.isArray(v) ? v.map(plain) : typeof v === 'number' && !Number.isFinite(v) ? String(v) : v

/** TensorFlow's strings are bytes; so they are printed and saved. */
function asBytes(t: Tensor, already: boolean): Tensor {
  if (already || !Array.isArray(t.data)) return t
  return { ...t, data: t.data.map((s) => Buffer.from(s, 'utf8').toString('latin1')) }
}

/** The file of each output, before anything runs. @throws {AppError} USAGE where one is there already or a key leads out of the folder */
function targets(outdir: string, keys: readonly string[], overwrite: boolean): Map<string, string> {
  const files = new Map(keys.map((key) => [key, join(outdir, `${key}.npy`)]))
  for (const [key, file] of files) {
    if (isAbsolute(key) || normalize(key).split(/[\\/]/).includes('..'))
      throw new AppError('USAGE', { where: '--outdir', expected: 'an output that names a file in it', got: `'${key}'` })
    if (!overwrite && existsSync(file))
      throw new AppError('USAGE', {
        got: `Output file ${file} already exists`,
        fix: 'Add "--overwrite" to overwrite the existing output files.',
      })
  }
  return files
}

async function save(file: string, t: Tensor): Promise<void> {
  const { writeNpy } = await import('../../src/npy.ts')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, writeNpy(t))
}
