import { AppError } from '../../src/errors.ts'
import type { Encoded } from '../verify/request.ts'
import { withApp } from './app.ts'
import { type Command, type Input, many, one } from './command.ts'
import type { Reporter } from './reporter.ts'
import { localSource } from './s3.ts'

interface Answer {
  readonly status: number
  readonly body: string
}

export const predict: Command = {
  name: 'predict',
  summary: 'Send one request to a package or to a URL and print the answer.',
  text: 'A package is imported and run in this process; the answer is the one that Lambda would give.',
  args: [
    { name: '<target>', text: 'a package or model (folder, file, name@version, s3:// prefix), or an http(s):// URL' },
  ],
  options: [
    { flags: '-F, --form <field>', text: 'a form field: images=@7.png or note=text', repeat: true },
    { flags: '--json <file>', text: 'a JSON file as body; - reads stdin' },
    { flags: '--path <path>', text: 'path of the request to a package', default: '/' },
    { flags: '-H, --header <line>', text: "a header for a URL, as 'x-api-key: …'", repeat: true },
    { flags: '--version <n>', text: 'which version of a package, where there are several (default: the newest)' },
  ],
  examples: [
    'modelayer predict examples/mnist -F images=@examples/mnist/digits/7.png',
    'modelayer predict http://localhost:8080/ -F images=@examples/mnist/digits/7.png',
    'modelayer predict examples/iris --json request.json',
  ],
  async run(input, io) {
    const target = input.args[0]!
    const request = await encode(input)
    const answer = /^https?:\/\//.test(target)
      ? await post(target, request, input)
      : await local(target, request, input, io)
    io.result(answer, answer.body)
    if (answer.status < 400) return 0
    io.warn(`status ${answer.status}`)
    return 1
  },
}

async function encode(input: Input): Promise<Encoded> {
  const { encodeRequest, parseField, parseForm, readJsonFile, readWhole } = await import('../verify/request.ts')
  const form = many(input, 'form')
  const json = one(input, 'json')
  if (form.length > 0 === (json !== undefined)) {
    throw new AppError('USAGE', { where: 'predict', expected: 'either -F or --json', got: json ? 'both' : 'neither' })
  }
  const path = one(input, 'path') ?? '/'
  if (json === undefined) return encodeRequest({ path, multipart: parseForm(form.map(parseField)) }, readWhole)
  return encodeRequest({ path, json: readJsonFile(json) }, readWhole)
}

async function local(target: string, request: Encoded, input: Input, io: Reporter): Promise<Answer> {
  const { openAny } = await import('../package/open.ts')
  const pkg = await openAny(await localSource(target, io), { version: one(input, 'version') })
  for (const f of pkg.findings) if (f.severity === 'warning') io.warn(f.message)
  return withApp(pkg, io, async (app) => {
    const [path = '/', query = ''] = request.path.split('?')
    const headers = { 'content-type': request.contentType, 'content-length': String(request.body.length) }
    const { body } = request
    const answer = await app.handle({ method: 'POST', path, query, headers, body, requestId: crypto.randomUUID() })
    return { status: answer.status, body: textOf(answer.body) }
  })
}

async function post(url: string, request: Encoded, input: Input): Promise<Answer> {
  const headers = new Headers({ 'content-type': request.contentType })
  for (const line of many(input, 'header')) {
    const colon = line.indexOf(':')
    if (colon < 1) throw new AppError('USAGE', { where: '--header', expected: "'name: value'" })
    headers.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim())
  }
  try {
    const answer = await fetch(url, { method: 'POST', headers, body: request.body })
    return { status: answer.status, body: await answer.text() }
  } catch (cause) {
    // fetch says only "fetch failed"; the reason is its cause
    const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause)
    throw new AppError('SOURCE_FAILED', {
      where: new URL(url).origin,
      got: reason,
      fix: 'Is the service running?',
      cause,
    })
  }
}

const textOf = (body: string | Uint8Array) => (typeof body === 'string' ? body : new TextDecoder().decode(body))
