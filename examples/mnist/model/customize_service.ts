import { image, type Outputs, type RequestData, stack, TfServingBaseService, type UploadedFile } from 'modelayer'

/** A digit image in, its label and the best five scores out. */
export default class MnistService extends TfServingBaseService {
  /** Grey, 28 x 28, 0..1, as train/digits.py prepares them: one row of 784 for every file. */
  override async _preprocess(data: RequestData) {
    const files = Object.values<UploadedFile>(data.images)
    const digits = await Promise.all(files.map((file) => image(file)))
    const grey = digits.map((digit) => digit.convert('L').resize([28, 28]))
    return { images: stack(grey, { layout: 'flat', scale: 1 / 255 }) }
  }

  override _postprocess(outputs: Outputs) {
    const answers = outputs.scores.map(answer)
    return answers.length === 1 ? answers[0] : { predictions: answers }
  }
}

function answer(scores: number[]) {
  const pairs = scores.map((score, label) => [String(label), score.toFixed(3)] as const)
  // sort is stable, as Python's sorted is: equal scores keep the order of their labels
  const best = pairs.toSorted(([, a], [, b]) => Number(b) - Number(a)).slice(0, 5)
  return { predicted_label: String(scores.indexOf(Math.max(...scores))), scores: best }
}
