// The least that answers the request: the binding by its private interface, one optimised graph, one PNG inflated by hand.
// No parsing of events, forms or models beyond this one image and this one model, no checks, no other answers.
'use strict'
process.env.ORT_DISABLE_TELEMETRY = '1'
const { inflateSync } = require('node:zlib')

class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, cpuData: data, dims, location: 'cpu' })
  }
}

const native = { exports: {} }
const bin = `/opt/nodejs/node_modules/onnxruntime-node/bin/napi-v6/linux/${process.arch}`
process.dlopen(native, `${bin}/onnxruntime_binding.node`)
native.exports.initOrtOnce(3, Tensor, true)
const session = new native.exports.InferenceSession()
session.loadModel(process.env.GRAPH, {
  graphOptimizationLevel: 'disabled',
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
})
const { INPUT, OUTPUT } = process.env

exports.handler = async (event) => {
  const body = Buffer.from(event.body, 'base64')
  const png = body.subarray(body.indexOf('\x89PNG', 0, 'latin1'))
  const pixels = grey28(png)
  const floats = new Float32Array(784)
  for (let i = 0; i < 784; i++) floats[i] = pixels[i] / 255
  const { [OUTPUT]: out } = session.run({ [INPUT]: new Tensor('float32', floats, [1, 784]) }, { [OUTPUT]: null }, {})
  const scores = [...out.data]
  const best = scores
    .map((s, i) => [String(i), s.toFixed(3)])
    .sort((a, b) => b[1] - a[1])
    .slice(0, 5)
  const answer = { predicted_label: String(scores.indexOf(Math.max(...scores))), scores: best }
  return { statusCode: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(answer) }
}

/** An 8-bit grey, not interlaced, 28 x 28 PNG: chunks from byte 8 on, each scan line with its filter (PNG 9.2). */
function grey28(png) {
  const parts = []
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    const type = png.latin1Slice(at + 4, at + 8)
    if (type === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + length))
    if (type === 'IEND') break
    at += length + 12
  }
  const raw = inflateSync(Buffer.concat(parts))
  const out = new Uint8Array(784)
  for (let y = 0; y < 28; y++) {
    const filter = raw[y * 29]
    for (let x = 0; x < 28; x++) {
      const a = x > 0 ? out[y * 28 + x - 1] : 0
      const b = y > 0 ? out[y * 28 + x - 28] : 0
      const c = x > 0 && y > 0 ? out[y * 28 + x - 29] : 0
      out[y * 28 + x] = raw[y * 29 + 1 + x] + [0, a, b, (a + b) >> 1, filter === 4 ? paeth(a, b, c) : 0][filter]
    }
  }
  return out
}

function paeth(a, b, c) {
  const p = a + b - c
  const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)]
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c
}
