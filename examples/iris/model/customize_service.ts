import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Outputs, type RequestData, TfServingBaseService } from 'modelayer'

const FEATURES = ['SepalLength', 'SepalWidth', 'PetalLength', 'PetalWidth']

/** Rows of measurements in, a species for each out: the request and response of ModelArts' predictive analytics. */
export default class IrisService extends TfServingBaseService {
  #species: string[] | undefined

  get species() {
    this.#species ??= readFileSync(join(this.modelPath, 'species.txt'), 'utf8').trim().split('\n')
    return this.#species
  }

  /** The model takes every feature as a tensor of its own. */
  override _preprocess(data: RequestData) {
    const rows: Record<string, number>[] = data.data.req_data
    return Object.fromEntries(FEATURES.map((name) => [name, rows.map((row, i) => number(row[name], name, i))]))
  }

  override _postprocess(outputs: Outputs) {
    return { data: { resp_data: outputs.probabilities.map((row: number[]) => this.#answer(row)) } }
  }

  #answer(probabilities: number[]) {
    const scores = probabilities
      .map((probability, id): [string, number] => [this.species[id]!, probability])
      .toSorted(([, a], [, b]) => b - a)
    const [predicted_label, probability] = scores[0]!
    return { predicted_label, probability, scores }
  }
}

function number(value: number | undefined, name: string, row: number) {
  if (typeof value !== 'number') throw new Error(`expected a number for data.req_data[${row}].${name}`)
  return value
}
