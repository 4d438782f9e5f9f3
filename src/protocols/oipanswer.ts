import { fromBfloat, fromHalf } from '../half.ts'
import type { Manifest, Signature, TensorSpec } from '../manifest.ts'
import { sizeOf, type Tensor } from '../tensor.ts'
import { formatDouble, formatFloat, formatString } from '../tensorjson/format.ts'
import type { HttpResponse, Tensors } from '../types.ts'
import { BINARY_ONLY, datatypeOf, encodeBinary } from './oipdatatypes.ts'
import { HEADER_LENGTH, type InferRequest, type RequestedOutput } from './oiprequest.ts'

/** Outputs as JSON, or as JSON with the binary tensors behind it. */
export function encodeInfer(
  request: InferRequest,
  outputs: Tensors,
  signature: Signature,
  manifest: Manifest,
): HttpResponse {
  const wanted: readonly RequestedOutput[] = request.outputs ?? Object.keys(signature.outputs).map((name) => ({ name }))
  const blobs: Uint8Array[] = []
  const written = wanted.map((o) => {
    const spec = signature.outputs[o.name]!
    const t = o.classification === undefined ? outputs[o.name]! : classify(outputs[o.name]!, o.classification)
    const head = `{"name":${formatString(o.name)},"datatype":"${datatypeOf(t.dtype)}","shape":[${t.shape}]`
    if (!(o.binary ?? request.binary) && !BINARY_ONLY.has(t.dtype)) return `${head},"data":[${values(t)}]}`
    const blob = encodeBinary(t, spec.bytes === true && o.classification === undefined)
    blobs.push(blob)
    return `${head},"parameters":{"binary_data_size":${blob.length}}}`
  })
  const id = request.id === undefined ? '' : `"id":${formatString(request.id)},`
  const json = `{"model_name":${formatString(manifest.model)},"model_version":${formatString(manifest.version)},${id}"outputs":[${written.join(',')}]}`
  if (blobs.length === 0) return { status: 200, headers: { 'content-type': 'application/json' }, body: json }
  const head = Buffer.from(json)
  const headers = { 'content-type': 'application/octet-stream', [HEADER_LENGTH]: String(head.length) }
  return { status: 200, headers, body: Buffer.concat([head, ...blobs]) }
}

/** Row-major, flat. NaN and infinities as the tokens that Python reads; integers of 64 bits in full. */
function values(t: Tensor): string {
  if (t.dtype === 'string') return (t.data as string[]).map(formatString).join(',')
  if (t.dtype === 'bool') return Array.from(t.data as Uint8Array, (v) => (v ? 'true' : 'false')).join(',')
  const write = t.dtype === 'float32' ? formatFloat : t.dtype === 'float64' ? formatDouble : String
  return Array.from(t.data as ArrayLike<number>, write).join(',')
}

/** `value:index` of the largest scores, for each row of the batch, best first. */
function classify(t: Tensor, classes: number): Tensor {
  const batch = t.shape.length > 1 ? t.shape[0]! : 1
  const per = batch === 0 ? 0 : sizeOf(t.shape) / batch
  const k = Math.min(classes, per)
  const read = t.dtype === 'float16' ? fromHalf : t.dtype === 'bfloat16' ? fromBfloat : Number
  const data: string[] = []
  for (let row = 0; row < batch; row++) {
    const scores = Array.from({ length: per }, (_, i) => [read(Number(t.data[row * per + i])), i] as const)
    scores.sort(([a], [b]) => b - a)
    for (const [score, i] of scores.slice(0, k)) data.push(`${score.toFixed(6)}:${i}`)
  }
  return { dtype: 'string', shape: t.shape.length > 1 ? [batch, k] : [k], data }
}

/** The metadata of a model; an unknown dimension is -1, and so is the only one of a tensor of unknown rank. */
export function metadata(manifest: Manifest, versions: readonly string[]): object {
  const signature = manifest.signatures[manifest.defaultSignature]!
  const list = (specs: Readonly<Record<string, TensorSpec>>) =>
    Object.entries(specs).map(([name, s]) => ({
      name,
      datatype: datatypeOf(s.dtype),
      shape: s.shape?.map((d) => d ?? -1) ?? [-1],
    }))
  return {
    name: manifest.model,
    versions,
    platform: 'onnx_onnxv1',
    inputs: list(signature.inputs),
    outputs: list(signature.outputs),
  }
}
