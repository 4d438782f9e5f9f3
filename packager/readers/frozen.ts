import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { type GraphDef, graphOf } from '../formats/graphdef.ts'
import { decode } from '../formats/protobuf.ts'
import { decodeText } from '../formats/prototext.ts'
import type { TfModel, TfNode, TfTensor } from '../graph.ts'
import { graphSignature } from './endpoints.ts'
import type { Reader } from './reader.ts'
import { readSavedModel } from './savedmodel.ts'

/** Field 1 as a varint: the schema version that a SavedModel begins with; a GraphDef begins with a node. */
const SAVED_MODEL_TAG = 0x08

/** A graph with its weights as constants, binary or text. A SavedModel under another name is recognised by its content. */
export const FROZEN: Reader = {
  name: 'frozen graph',
  files: 'a frozen GraphDef (.pb or .pbtxt)',
  match: (path) => /\.(pb|pbtxt|pbtext)$/i.test(path) && existsSync(path) && statSync(path).isFile(),
  open(path, options) {
    const file = basename(path)
    const bytes = readFileSync(path)
    if (bytes.length === 0)
      throw new AppError('BAD_MODEL_FILE', { where: file, expected: 'a GraphDef', got: 'an empty file' })
    const text = /\.pbte?xt$/i.test(path) ? bytes.toString('utf8') : undefined
    if (text ? /^\s*(saved_model_schema_version|meta_graphs)\b/m.test(text) : bytes[0] === SAVED_MODEL_TAG)
      return { kind: 'tensorflow', model: readSavedModel(dirname(path), options, file) }
    const def = text
      ? decodeText<GraphDef>('tensorflow.GraphDef', text, file)
      : decode<GraphDef>('tensorflow.GraphDef', bytes, file)
    return { kind: 'tensorflow', model: frozenModel(def, file, options.outputs) }
  },
}

function frozenModel(def: GraphDef, file: string, outputs: readonly string[] | undefined): TfModel {
  if (!def.node?.length || !def.node.every((n) => n.name && n.op))
    throw new AppError('BAD_MODEL_FILE', {
      where: file,
      expected: 'a GraphDef with nodes',
      got: 'a message without them',
      fix: 'Give a frozen graph, a SavedModel folder or the prefix of a checkpoint.',
    })
  const graph = graphOf(def)
  return {
    graph,
    signatures: { serving_default: graphSignature(graph, file, outputs, def.versions?.producer) },
    variable: (node) => notFrozen(file, node),
    assets: new Map(),
  }
}

function notFrozen(file: string, node: TfNode): TfTensor {
  throw new AppError('CHECKPOINT_MISMATCH', {
    where: `variable ${node.name} in ${file}`,
    expected: 'a frozen graph, whose weights are constants',
    got: 'a variable without a value',
    fix: 'Give the checkpoint instead: the .meta file with .index and .data files beside it.',
  })
}
