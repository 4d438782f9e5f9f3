// The handler everybody writes: a framework, sharp, the S3 client and onnxruntime imported at the top, the model with default options.
import { S3Client } from '@aws-sdk/client-s3'
import { Hono } from 'hono'
import { handle } from 'hono/aws-lambda'
import * as ort from 'onnxruntime-node'
import sharp from 'sharp'

const s3 = new S3Client({})
const session = await ort.InferenceSession.create(new URL('./model.onnx', import.meta.url).pathname)
const app = new Hono()

app.get('/health', async (c) => c.text(await s3.config.region()))

app.post('/', async (c) => {
  const { images } = await c.req.parseBody()
  const { data } = await sharp(Buffer.from(await images.arrayBuffer()))
    .toColourspace('b-w')
    .raw()
    .toBuffer({ resolveWithObject: true })
  const tensor = new ort.Tensor(
    'float32',
    Float32Array.from(data, (v) => v / 255),
    [1, 784],
  )
  const outputs = await session.run({ [session.inputNames[0]]: tensor })
  const scores = [...outputs[process.env.OUTPUT].data]
  const best = scores
    .map((s, i) => [String(i), s.toFixed(3)])
    .sort((a, b) => b[1] - a[1])
    .slice(0, 5)
  return c.json({ predicted_label: String(scores.indexOf(Math.max(...scores))), scores: best })
})

export const handler = handle(app)
