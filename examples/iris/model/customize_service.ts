import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, type Outputs, type RequestData, TfServingBaseService } from 'modelayer'

const FEATURES = ['SepalLength', 'SepalWidth', 'PetalLength', 'PetalWidth']

/** Rows of measurements in, a species for each out: the request and response of ModelArts' predictive analytics. */
export default class IrisService extends TfServingBaseService {
  /** an asset of the package, read once */
  readonly species = readFileSync(join(this.modelPath, 'species.txt'), 'utf8').trim().split('\n')

  /** The model takes every feature as a tensor of its own. */
  override _preprocess(data: RequestData) {
    const rows: unknown = data.data?.req_data
    if (!Array.isArray(rows))
      throw new AppError('BAD_REQUEST', { where: 'data.req_data', expected: 'an array of records' })
    return Object.fromEntries(FEATURES.map((name) => [name, rows.map((row, i) => measured(row?.[name], name, i))]))
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

function measured(value: unknown, name: string, row: number) {
  if (typeof value === 'number') return value
  throw new AppError('BAD_REQUEST', { where: `data.req_data[${row}].${name}`, expected: 'a number', got: typeof value })
}
