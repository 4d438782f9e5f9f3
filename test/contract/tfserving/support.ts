import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openAny } from '../../../packager/package/open.ts'
import { stagePackage } from '../../../packager/stage.ts'
import { type App, createApp } from '../../../src/http/app.ts'
import type { Labels } from '../../../src/labels.ts'
import type { LogLine } from '../../../src/log.ts'
import { openStore } from '../../../src/models.ts'
import type { HttpRequest } from '../../../src/types.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'

export const PROJECT = fileURLToPath(new URL('../../../', import.meta.url))
export const MODELS = join(PROJECT, 'test/fixtures/tfserving')

export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: whatever the model answers
  readonly json: any
}

export interface Server {
  readonly app: App
  readonly lines: LogLine[]
  send(req: Partial<HttpRequest>): Promise<Reply>
  get(path: string): Promise<Reply>
  /** `text` as it is, anything else as JSON */
  post(path: string, body: unknown): Promise<Reply>
}

interface Served {
  readonly path: string
  readonly name?: string
  readonly version?: string
}

/** Models as `modelayer serve` takes them, staged and behind the app. Folders go when the process ends. */
export async function serveModels(
  models: readonly Served[],
  options: { labels?: Labels; cors?: boolean } = {},
): Promise<Server> {
  const root = mkdtempSync(join(tmpdir(), 'modelayer-tfserving-'))
  process.once('exit', () => rmSync(root, { recursive: true, force: true }))
  for (const { path, name, version } of models) {
    const pkg = await openAny(path, { name })
    await stagePackage(version === undefined ? pkg : { ...pkg, version }, root)
  }
  const lines: LogLine[] = []
  const store = openStore({ roots: [root], labels: options.labels })
  const app = createApp(store, { log: (line) => lines.push(line), cors: options.cors })
  const send = async (req: Partial<HttpRequest>): Promise<Reply> => {
    const base = { method: 'POST', path: '/', query: '', headers: {}, body: new Uint8Array(), requestId: 'r-1' }
    const { status, headers, body } = await app.handle({ ...base, ...req })
    const text = String(body)
    return { status, headers, text, json: tryJson(text) }
  }
  return {
    app,
    lines,
    send,
    get: (path) => send({ method: 'GET', path }),
    post: (path, body) => send({ path, body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) }),
  }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (e) {
    if (e instanceof SyntaxError) return undefined
    throw e
  }
}
