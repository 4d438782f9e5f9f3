import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { spell } from '../../src/tensor.ts'
import { tfDType } from '../formats/proto/tensorflow.ts'
import { shapeOf } from '../formats/tftensor.ts'
import type { MetaGraph } from '../readers/metagraph.ts'
import { chooseMetaGraph, readMetaGraphs, SAVED_MODEL } from '../readers/savedmodel.ts'
import { describeOther } from './other.ts'
import { everything, keysOf, opsOf, signature, signatureKeys, tagSets, usedOps } from './savedmodel.ts'

export interface ShowOptions {
  readonly tags?: readonly string[]
  readonly signature?: string
  readonly all: boolean
  readonly ops: boolean
}

export interface Description {
  readonly text: string
  /** for programs */
  readonly data: object
}

/** What `modelayer show` prints. @throws {AppError} MODEL_NOT_FOUND, MODEL_AMBIGUOUS, UNKNOWN_SIGNATURE, BAD_MODEL_FILE */
export async function describeModel(path: string, o: ShowOptions): Promise<Description> {
  if (!SAVED_MODEL.match(path)) return describeOther(path, o.signature)
  const binary = join(path, 'saved_model.pb')
  const file = !statSync(path).isDirectory() ? path : existsSync(binary) ? binary : `${binary}txt`
  const graphs = readMetaGraphs(file)
  const chosen = o.tags && !o.all ? [chooseMetaGraph(graphs, o.tags)] : graphs
  return { text: textOf(graphs, o), data: { format: 'SavedModel', metaGraphs: chosen.map((g) => dataOf(g, o)) } }
}

function textOf(graphs: readonly MetaGraph[], o: ShowOptions): string {
  if (o.all) return everything(graphs)
  if (o.tags === undefined)
    return (o.ops ? '--list_ops must be paired with a tag-set or with --all.\n' : '') + tagSets(graphs)
  const g = chooseMetaGraph(graphs, o.tags)
  return (o.ops ? opsOf(g) : '') + (o.signature === undefined ? signatureKeys(g) : signature(g, o.signature))
}

function dataOf(g: MetaGraph, o: ShowOptions): object {
  const keys = keysOf(g).filter((key) => o.signature === undefined || key === o.signature)
  const tensors = (infos: NonNullable<NonNullable<MetaGraph['signature_def']>[string]['inputs']> = {}) =>
    Object.fromEntries(
      Object.entries(infos).map(([key, t]) => {
        const [dtype, shape] = [tfDType(t.dtype), shapeOf(t.tensor_shape ?? {}) ?? null]
        return [key, { name: t.name, dtype, shape, text: spell(dtype, shape) }]
      }),
    )
  return {
    tags: g.meta_info_def?.tags ?? [],
    signatures: Object.fromEntries(
      keys.map((key) => {
        const s = g.signature_def![key]!
        return [key, { method: s.method_name, inputs: tensors(s.inputs), outputs: tensors(s.outputs) }]
      }),
    ),
    ...((o.ops || o.all) && { ops: usedOps(g.graph_def ?? {}) }),
  }
}
