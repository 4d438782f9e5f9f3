import { basename } from 'node:path'
import type { Tensor } from '../../src/tensor.ts'
import { isObject, type JsonObject } from '../formats/jsonvalue.ts'
import { readTfjsWeights } from '../formats/tfjsweights.ts'
import type { KerasModel } from '../kerasmodel.ts'
import { majorVersion } from './keras.ts'
import type { Reader } from './reader.ts'
import { openModelJson } from './tfjs.ts'

/** TensorFlow.js keeps graph models in a file of the same name; those have no Keras configuration. */
function isLayersModel(topology: JsonObject): boolean {
  return 'model_config' in topology || ('class_name' in topology && 'config' in topology)
}

/** A Keras model as tensorflowjs_converter and TensorFlow.js itself write it: Keras' configuration, weights in shards by name. */
export const TFJS_LAYERS: Reader = {
  name: 'TensorFlow.js layers model',
  files: 'a folder with the model.json of a TensorFlow.js model',
  match(path) {
    const found = openModelJson(path)
    return found !== undefined && isLayersModel(found.json.modelTopology as JsonObject)
  },
  open(path) {
    const { dir, json } = openModelJson(path)!
    return {
      kind: 'keras',
      model: layersModel(basename(path), dir, json.modelTopology as JsonObject, json.weightsManifest),
    }
  },
}

function layersModel(name: string, dir: string, topology: JsonObject, manifest: unknown): KerasModel {
  const weights = readTfjsWeights(dir, manifest ?? [])
  const variables = [...weights].map(([key, t]) => ({ name: key, read: () => t as Tensor }))
  return {
    name,
    config: isObject(topology.model_config) ? topology.model_config : topology,
    keras: majorVersion(topology.keras_version ?? 2),
    weights: { kind: 'names', file: name, variables },
    asset: () => undefined,
  }
}
