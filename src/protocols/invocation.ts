import { parseCsv } from '../csv.ts'
import { AppError } from '../errors.ts'
import { parseJson, stringify } from '../json.ts'
import type { Manifest, Signature } from '../manifest.ts'
import { kindOf, toNested, toTensor } from '../nested.ts'
import type { Tensor } from '../tensor.ts'
import type { HttpRequest, HttpResponse, RequestData, Tensors } from '../types.ts'
import { upload } from '../upload.ts'
import type { Call } from './protocol.ts'
import { writeColumns, writeRows } from './tfserving/answer.ts'
import { readPredict } from './tfserving/predict.ts'

/** The body of an invocation, by its content type. @throws {AppError} UNSUPPORTED_MEDIA */
export function readInvocation(req: HttpRequest, manifest: Manifest): Call {
  const type =
    (req.headers['content-type'] ?? 'application/json').split(';', 1)[0]!.trim().toLowerCase() || 'application/json'
  const read = TYPES.find(([pattern]) => pattern.test(type))?.[1]
  if (!read)
    throw wrongType(
      type,
      Object.values(TYPES)
        .map(([, , name]) => name)
        .join(', '),
    )
  return read(req, manifest, type)
}

type Read = (req: HttpRequest, manifest: Manifest, type: string) => Call

const TYPES: readonly (readonly [pattern: RegExp, read: Read, name: string])[] = [
  [/^application\/json$|\+json$/, fromJson, 'application/json'],
  [/^application\/(jsonlines|jsonl|x-ndjson)$/, fromLines, 'application/jsonlines'],
  [/^text\/csv$/, fromCsv, 'text/csv'],
  [/^(image\/.+|application\/(x-image|octet-stream))$/, fromFile, 'application/x-image, application/octet-stream'],
]

function fromJson(req: HttpRequest, manifest: Manifest): Call {
  if (manifest.hooks === undefined) return tensors(req, wrapped(req.body), manifest)
  const data = parseJson(req.body, 'the body')
  if (typeof data !== 'object' || data === null)
    throw new AppError('BAD_REQUEST', { where: 'the body', expected: 'a JSON object', got: kindOf(data) })
  return hooks(Array.isArray(data) ? { instances: data } : (data as RequestData))
}

/** TensorFlow Serving's body as it is; a bare list as its instances, other objects as its inputs. */
function wrapped(body: Uint8Array): Uint8Array {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const first = /^\s*(\S)/.exec(text.toString('latin1', 0, 1000))?.[1]
  if (first === '[') return Buffer.concat([Buffer.from('{"instances":'), text, Buffer.from('}')])
  const named = first !== '{' || /"(instances|inputs|signature_name)"\s*:/.test(text.toString('latin1'))
  return named ? body : Buffer.concat([Buffer.from('{"inputs":'), text, Buffer.from('}')])
}

function fromLines(req: HttpRequest, manifest: Manifest): Call {
  const lines = Buffer.from(req.body)
    .toString('utf8')
    .split('\n')
    .filter((l) => l.trim() !== '')
  const body = Buffer.from(`[${lines.join(',')}]`)
  return fromJson({ ...req, body }, manifest)
}

function fromCsv(req: HttpRequest, manifest: Manifest): Call {
  if (manifest.hooks !== undefined) return fromFile(req, manifest, 'text/csv')
  const rows = parseCsv(new TextDecoder().decode(req.body))
  const signature = manifest.signatures[manifest.defaultSignature]!
  return answerTensors(req, manifest.defaultSignature, csvFeeds(rows, signature), 'row')
}

/** A header that names the inputs gives each a column; without one the only input gets the rows. */
function csvFeeds(rows: readonly (readonly string[])[], { inputs }: Signature): Tensors {
  const names = Object.keys(inputs)
  const header = rows[0]?.map((c) => c.trim())
  const read = (cell: string, spec: { dtype: string }, where: string): number | string => {
    if (spec.dtype === 'string') return cell
    const n = Number(cell)
    if (cell.trim() !== '' && !Number.isNaN(n)) return n
    throw new AppError('WRONG_DTYPE', { where, expected: `a number for ${spec.dtype}`, got: 'text' })
  }
  const feeds: Record<string, Tensor> = {}
  if (header && names.every((n) => header.includes(n))) {
    for (const name of names) {
      const [spec, column] = [inputs[name]!, header.indexOf(name)]
      const values = rows.slice(1).map((r, i) => read(r[column] ?? '', spec, `row ${i + 2}, column ${name}`))
      feeds[name] = toTensor(
        name,
        (spec.shape?.length ?? 1) > 1 ? values.map((v) => [v]) : values,
        spec.dtype,
        spec.shape,
      )
    }
    return feeds
  }
  const [name, spec] = [names[0]!, inputs[names[0]!]!]
  if (names.length > 1)
    throw new AppError('MISSING_INPUT', {
      where: 'the CSV',
      expected: `a header with ${names.join(', ')}`,
      got: 'no such header',
    })
  const values = rows.map((r, i) => r.map((c, k) => read(c, spec, `row ${i + 1}, column ${k + 1}`)))
  feeds[name] = toTensor(name, spec.shape?.length === 1 ? values.map((r) => r[0]!) : values, spec.dtype, spec.shape)
  return feeds
}

/** The whole body is the file of the only file field. */
function fromFile(req: HttpRequest, manifest: Manifest, type: string): Call {
  const fields = Object.entries(manifest.fields ?? {}).filter(([, f]) => f.kind === 'file')
  const [field] = fields[0] ?? []
  if (manifest.hooks === undefined || field === undefined || fields.length > 1)
    throw wrongType(type, 'application/json, application/jsonlines, text/csv')
  const extension = /^image\/(\w+)$/.exec(type)?.[1] ?? (type === 'text/csv' ? 'csv' : 'bin')
  const name = `${field}.${extension}`
  return hooks({ [field]: { [name]: upload(field, name, type, req.body) } })
}

function hooks(data: RequestData): Call {
  return { kind: 'hooks', data, encode: (body) => json(200, stringify(body)) }
}

function tensors(req: HttpRequest, body: Uint8Array, manifest: Manifest): Call {
  // TensorFlow Serving knows one default name; here the default of the package has it too
  const own = manifest.signatures[manifest.defaultSignature]!
  const view = { ...manifest, signatures: { serving_default: own, ...manifest.signatures } }
  const { signature, feeds, form } = readPredict(body, view)
  return answerTensors(
    req,
    Object.hasOwn(manifest.signatures, signature) ? signature : manifest.defaultSignature,
    feeds,
    form,
  )
}

function answerTensors(req: HttpRequest, signature: string, feeds: Tensors, form: 'row' | 'column'): Call {
  const accept = req.headers.accept ?? ''
  const encode = (outputs: Tensors, spec: Signature): HttpResponse => {
    if (/jsonlines|jsonl|ndjson/.test(accept)) return lines(outputs, 'application/jsonlines', (row) => stringify(row))
    if (/text\/csv/.test(accept)) return lines(outputs, 'text/csv', (row) => [row].flat(9).join(','))
    return json(200, form === 'row' ? writeRows(outputs, spec) : writeColumns(outputs, spec))
  }
  return { kind: 'tensors', signature, feeds, encode }
}

/** A line for each row of the batch: the value of the only output, or an object of all. */
function lines(outputs: Tensors, type: string, write: (row: unknown) => string): HttpResponse {
  const named = Object.entries(outputs).map(([name, t]) => [name, toNested(t)] as const)
  const count = Math.max(0, ...named.map(([, rows]) => (Array.isArray(rows) ? rows.length : 1)))
  const row = (i: number) => {
    const all = named.map(([name, rows]) => [name, Array.isArray(rows) ? rows[i] : rows] as const)
    if (all.length === 1) return all[0]![1]
    return type === 'text/csv' ? all.map(([, v]) => v) : Object.fromEntries(all)
  }
  const body = Array.from({ length: count }, (_, i) => `${write(row(i))}\n`).join('')
  return { status: 200, headers: { 'content-type': type }, body }
}

function json(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'application/json' }, body }
}

function wrongType(type: string, expected: string): AppError {
  return new AppError('UNSUPPORTED_MEDIA', { where: 'content-type', expected, got: type.slice(0, 80) })
}
