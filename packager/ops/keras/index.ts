import { ACTIVATION_LAYERS } from './activations.ts'
import { ARRAY_OPERATIONS } from './arrayops.ts'
import { ATTENTION_LAYERS } from './attention.ts'
import { CELL_LAYERS } from './cells.ts'
import { CONV_LAYERS } from './conv.ts'
import { CORE_LAYERS } from './core.ts'
import { ENCODING_LAYERS } from './encode.ts'
import { IMAGE_OPERATIONS } from './imageops.ts'
import type { LayerTable } from './layer.ts'
import { LOOKUP_LAYERS } from './lookup.ts'
import { MERGE_LAYERS } from './merge.ts'
import { NORM_LAYERS } from './norm.ts'
import { OPERATIONS } from './operations.ts'
import { POOL_LAYERS } from './pool.ts'
import { RESHAPE_LAYERS } from './reshape.ts'
import { IMAGE_LAYERS } from './resize.ts'
import { RNN_LAYERS } from './rnn.ts'

/** One file per family. */
export const LAYER_FAMILIES = {
  CORE_LAYERS,
  ACTIVATION_LAYERS,
  CONV_LAYERS,
  POOL_LAYERS,
  NORM_LAYERS,
  MERGE_LAYERS,
  RESHAPE_LAYERS,
  RNN_LAYERS,
  CELL_LAYERS,
  ATTENTION_LAYERS,
  IMAGE_LAYERS,
  ENCODING_LAYERS,
  LOOKUP_LAYERS,
} as const satisfies Record<string, LayerTable>

const table = (families: Readonly<Record<string, LayerTable>>): LayerTable =>
  Object.freeze(Object.assign(Object.create(null), ...Object.values(families)))

/** Every layer class of Keras that can be imported. */
export const LAYERS: LayerTable = table(LAYER_FAMILIES)
/** Every operation of keras.ops that can be imported as a node of a functional model. */
export const OPERATION_ROWS: LayerTable = table({ OPERATIONS, ARRAY_OPERATIONS, IMAGE_OPERATIONS })
