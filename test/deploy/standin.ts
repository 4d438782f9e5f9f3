/** A stand-in for AWS on this machine: Python processes that listen on 127.0.0.1. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export const REGION = 'eu-central-1'
export const python = process.env.STANDIN_PYTHON ?? 'python3'

/** false, or why there is nothing to test with: what node:test takes as `skip`. */
export function lacks(module: string): string | false {
  const { status } = spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore' })
  return status === 0 ? false : `${python} has no ${module} (pip install -r test/deploy/requirements.txt)`
}

export interface Standin {
  readonly endpoint: string
  /** for commands that speak to it: nobody checks these keys */
  readonly env: NodeJS.ProcessEnv
  stop(): void
}

/** Starts a Python program with what it needs to know of its port, and waits until `health` answers. */
export async function startStandin(
  args: readonly string[],
  health: string,
  settings: (port: number) => Readonly<Record<string, string>>,
): Promise<Standin> {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const env = {
    ...process.env,
    AWS_ENDPOINT_URL: endpoint,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_REGION: REGION,
    SLS_TELEMETRY_DISABLED: '1',
  }
  const words = args.map((a) => a.replaceAll('{port}', String(port)))
  const output = process.env.STANDIN_LOG ? 'inherit' : 'ignore'
  const child: ChildProcess = spawn(python, words, {
    env: { ...env, ...settings(port) },
    stdio: ['ignore', output, output],
  })
  const up = () =>
    fetch(`${endpoint}${health}`).then(
      (r) => r.ok || undefined,
      () => undefined,
    )
  await until(words.join(' '), up)
  return { endpoint, env, stop: () => child.kill() }
}

export async function until<T>(what: string, look: () => Promise<T | undefined>, minutes = 1): Promise<T> {
  for (let i = 0; i < 240 * minutes; i++) {
    const found = await look()
    if (found !== undefined) return found
    await sleep(250)
  }
  throw new Error(`${what} did not come within ${minutes} min`)
}

/** A stand-in reads from it which service and region are meant, and checks no signature. */
export function signed(name: string) {
  const credential = `test/20260101/${REGION}/${name}/aws4_request`
  return { authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host, Signature=0` }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  return typeof address === 'object' && address ? address.port : 4566
}
