import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type App, createApp } from '../../../src/http/app.ts'
import type { LogLine } from '../../../src/log.ts'
import type { Manifest, Signature } from '../../../src/manifest.ts'
import { type ModelStore, openStore } from '../../../src/models.ts'
import type { HttpRequest, HttpResponse } from '../../../src/types.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'

export const FIXTURES = fileURLToPath(new URL('../../fixtures/runtime/', import.meta.url))
export const GRAPHS = join(FIXTURES, 'models')

const PREDICT = 'tensorflow/serving/predict'

/** 4 features → probabilities of 3 classes, and the logits as a second signature */
export const SOFTMAX = {
  serving_default: {
    graph: 'softmax.onnx',
    method: PREDICT,
    inputs: { images: { name: 'x:0', dtype: 'float32', shape: [null, 4] } },
    outputs: { scores: { name: 'y:0', dtype: 'float32', shape: [null, 3] } },
  },
  logits: {
    graph: 'logits.onnx',
    method: PREDICT,
    inputs: { images: { name: 'x:0', dtype: 'float32', shape: [null, 4] } },
    outputs: { logits: { name: 'l:0', dtype: 'float32', shape: [null, 3] } },
  },
} as const satisfies Record<string, Signature>

export interface Package extends Partial<Manifest> {
  /** CommonJS source of the hooks; `class` may use `base` and `lib` (require('modelayer')) */
  readonly source?: string
}

const made: string[] = []
process.once('exit', () => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true })
})

/** A root as the layers make it: models/<name>/<version>/ and hooks/<name>@<version>.js. Removed when the process ends. */
export function root(...packages: Package[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'modelayer-runtime-'))
  made.push(dir)
  for (const { source, ...given } of packages) {
    const { model = 'digits', version = '1' } = given
    const signatures = given.signatures ?? SOFTMAX
    const hooks = source === undefined ? undefined : `${model}@${version}.js`
    const manifest = {
      format: 1,
      model,
      version,
      defaultSignature: 'serving_default',
      files: {},
      hooks,
      ...given,
      signatures,
    }
    const folder = join(dir, 'models', model, version)
    mkdirSync(folder, { recursive: true })
    mkdirSync(join(dir, 'hooks'), { recursive: true })
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest))
    for (const { graph } of Object.values(signatures)) copyFileSync(join(GRAPHS, graph), join(folder, graph))
    if (hooks) writeFileSync(join(dir, 'hooks', hooks), hookFile(source!))
  }
  return dir
}

export function hookFile(source: string): string {
  return `'use strict'\nconst lib = require('modelayer')\nconst base = lib.TfServingBaseService\n${source}\n`
}

export interface Answer extends HttpResponse {
  // biome-ignore lint/suspicious/noExplicitAny: a body is whatever the hook of the test returned
  readonly json: any
}

export interface Served {
  readonly app: App
  readonly store: ModelStore
  readonly lines: LogLine[]
  send(req: Partial<HttpRequest> & { text?: string; json?: unknown; form?: FormData }): Promise<Answer>
}

/** The app over packages, at its public door, with its log. */
export function serve(...packages: Package[]): Served {
  const lines: LogLine[] = []
  const store = openStore({ roots: [root(...packages)] })
  const app = createApp(store, { log: (line) => lines.push(line) })
  let n = 0
  return {
    app,
    store,
    lines,
    async send({ text, json, form, headers = {}, ...rest }) {
      const type = json === undefined ? undefined : 'application/json'
      const encoded = form && new Response(form)
      const formType = encoded?.headers.get('content-type') ?? undefined
      const body = encoded
        ? new Uint8Array(await encoded.arrayBuffer())
        : Buffer.from(json === undefined ? (text ?? '') : JSON.stringify(json))
      const response = await app.handle({
        method: 'POST',
        path: '/',
        query: '',
        headers: { 'content-type': type ?? formType ?? '', ...headers },
        body,
        requestId: `r${++n}`,
        ...rest,
      })
      return { ...response, json: tryJson(response.body) }
    },
  }
}

function tryJson(body: string | Uint8Array): unknown {
  try {
    return JSON.parse(String(body))
  } catch {
    return undefined
  }
}

/** A form with one file per entry. */
export function form(files: Record<string, string | Uint8Array<ArrayBuffer>>, field = 'images'): FormData {
  const data = new FormData()
  for (const [name, content] of Object.entries(files)) data.append(field, new Blob([content]), name)
  return data
}
