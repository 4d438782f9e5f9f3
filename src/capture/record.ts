import { createHash } from 'node:crypto'
import { readForm } from '../http/form.ts'
import type { UploadedFile } from '../types.ts'
import type { CaptureOptions, Exchange } from './capture.ts'
import type { Redact } from './redact.ts'

type Rules = Pick<CaptureOptions, 'bodies' | 'files'> & { readonly redact: Redact | undefined }

/** `model/version/yyyy/mm/dd/hh/…`: what Athena and SageMaker's monitors take for partitions. */
export function captureKey(prefix: string, { request, model, version }: Exchange, at: Date): string {
  const iso = at.toISOString()
  const name = `${iso.replace(/[:.]/g, '-')}-${plain(request.requestId)}.jsonl`
  return `${prefix}${plain(model)}/${plain(version)}/${iso.slice(0, 13).replace(/[-T]/g, '/')}/${name}`
}

const plain = (text: string) => text.replace(/[^\w.-]/g, '_').slice(0, 128)

/** In the form of SageMaker's data capture. Of the headers it has the content type alone, and of the address the path. */
export function captureRecord({ request, response, model, version }: Exchange, rules: Rules, at: Date): object {
  const { bodies } = rules
  const side = (mode: 'INPUT' | 'OUTPUT', body: Uint8Array | string, type: string | undefined) => ({
    observedContentType: type?.split(';')[0]?.trim() ?? '',
    mode,
    ...dataOf(typeof body === 'string' ? Buffer.from(body) : body, type ?? '', rules),
  })
  return {
    captureData: {
      ...(bodies !== 'none' && { endpointInput: side('INPUT', request.body, request.headers['content-type']) }),
      ...(bodies === 'both' && { endpointOutput: side('OUTPUT', response.body, response.headers['content-type']) }),
    },
    eventMetadata: {
      eventId: request.requestId,
      inferenceTime: at.toISOString(),
      customAttributes: [
        `model=${model}`,
        `version=${version}`,
        `path=${request.path}`,
        `status=${response.status}`,
        `bytesIn=${request.body.byteLength}`,
        `bytesOut=${Buffer.byteLength(response.body)}`,
      ],
    },
    eventVersion: '0',
  }
}

interface Data {
  readonly data: string
  readonly encoding: 'JSON' | 'BASE64'
}

function dataOf(bytes: Uint8Array, type: string, rules: Rules): Data {
  const { redact, files } = rules
  const json = (value: unknown): Data => ({ data: JSON.stringify(redact ? redact(value) : value), encoding: 'JSON' })
  if (/^multipart\/form-data/i.test(type)) return json(formOf(bytes, type, files))
  const parsed = parse(bytes)
  if (parsed) return json(withoutFiles(parsed.value, files))
  // neither JSON nor a form: a file as a whole, and one in which paths could not find what they are to hide
  if (files !== 'keep') return json(fileOf(bytes, files))
  if (redact) return json(fileOf(bytes, 'hash'))
  return { data: Buffer.from(bytes).toString('base64'), encoding: 'BASE64' }
}

function parse(bytes: Uint8Array): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(Buffer.from(bytes).toString()) }
  } catch {
    return undefined
  }
}

function fileOf(bytes: Uint8Array, files: CaptureOptions['files']): object {
  if (files === 'omit') return { bytes: bytes.byteLength }
  if (files === 'keep') return { b64: Buffer.from(bytes).toString('base64') }
  return { bytes: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** File names may name people, so they come with the files only. */
function formOf(bytes: Uint8Array, type: string, files: CaptureOptions['files']): object {
  const form: Record<string, string | Record<string, UploadedFile>> = readForm(bytes, type)
  const fields = Object.entries(form).map(([name, field]): [string, unknown] => {
    if (typeof field === 'string') return [name, field]
    const described = Object.values(field).map(({ fileName, contentType, bytes }) => ({
      ...(files === 'keep' && { fileName }),
      contentType,
      ...fileOf(bytes, files),
    }))
    return [name, described]
  })
  return Object.fromEntries(fields)
}

/** TensorFlow Serving's `{ "b64": … }` is a file too. */
function withoutFiles(value: unknown, files: CaptureOptions['files']): unknown {
  if (files === 'keep' || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((v) => withoutFiles(v, files))
  const { b64 } = value as { b64?: unknown }
  if (typeof b64 === 'string') return fileOf(Buffer.from(b64, 'base64'), files)
  return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, withoutFiles(v, files)]))
}
