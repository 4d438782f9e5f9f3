import { AppError } from '../../src/errors.ts'
import { type Command, flag, type Input, one } from './command.ts'

export const show: Command = {
  name: 'show',
  summary: 'List what a model offers, as saved_model_cli show does.',
  text: [
    'For a SavedModel the text is that of saved_model_cli: without --tag_set the tag sets, with it the signatures,',
    'with --signature_def the inputs and outputs of one, with --all everything. Operators are listed in order;',
    'saved_model_cli prints a Python set, whose order changes from run to run.',
    'Other models are listed in the same manner: inputs and outputs, and for Keras models the layers.',
  ].join('\n'),
  args: [],
  options: [
    { flags: '--dir <path>', text: 'folder of the SavedModel, or the file of another model', required: true },
    { flags: '--tag_set <tags>', text: 'tags of the MetaGraph, separated by commas' },
    { flags: '--signature_def <key>', text: 'signature to describe' },
    { flags: '--all', text: 'everything' },
    { flags: '--list_ops', text: 'the operators of the MetaGraph that --tag_set names' },
  ],
  examples: [
    'modelayer show --dir saved_model --all',
    'modelayer show --dir saved_model --tag_set serve --signature_def serving_default',
    'modelayer show --dir model.onnx',
  ],
  async run(input, io) {
    const { describeModel } = await import('../inspect/index.ts')
    const options = {
      tags: tagSet(input),
      signature: one(input, 'signature_def'),
      all: flag(input, 'all'),
      ops: flag(input, 'list_ops'),
    }
    const { text, data } = await describeModel(one(input, 'dir')!, options)
    io.result(data, text)
    return 0
  },
}

/** @throws {AppError} USAGE for a tag set without a tag */
export function tagSet(input: Input): string[] | undefined {
  const tags = one(input, 'tag_set')
    ?.split(',')
    .map((t) => t.trim())
    .filter(Boolean)
  if (tags?.length === 0) throw new AppError('USAGE', { where: '--tag_set', expected: 'at least one tag', got: 'none' })
  return tags
}
