import { loadImg, type Outputs, type RequestData, stack, TfServingBaseService, type UploadedFile } from 'modelayer'
import labels from './labels.json' with { type: 'json' }

/** Satellite tiles in; for each the weather, and every ground label that is more likely there than not. */
export default class PlanetService extends TfServingBaseService {
  /** As `img_to_array(load_img(file, target_size=(128, 128))) / 255` of Keras. */
  override async _preprocess(data: RequestData) {
    const files = Object.values<UploadedFile>(data.input_image)
    const tiles = await Promise.all(files.map((file) => loadImg(file, { targetSize: [128, 128] })))
    return { input_image: stack(tiles, { scale: 1 / 255 }) }
  }

  override _postprocess(outputs: Outputs) {
    return { tiles: outputs.weather.map((weather: number[], i: number) => answer(weather, outputs.ground[i])) }
  }
}

function answer(weather: number[], ground: number[]) {
  const best = weather.indexOf(Math.max(...weather))
  const likely = labels.ground.map((label, i) => [label, ground[i]!] as const).filter(([, p]) => p > 0.5)
  return {
    weather: labels.weather[best],
    weather_probability: weather[best],
    ground: Object.fromEntries(likely.sort(([, a], [, b]) => b - a)),
  }
}
