import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { BatchOptions, DeployOptions, HttpOptions, S3Place } from '../deploy/options.ts'
import type { FunctionSettings, Settings } from '../deploy/settings.ts'
import type { Arch } from '../layers/definition.ts'
import { type DistIndex, STORES } from '../layers/dist.ts'
import { type Access, accessOf } from './access.ts'
import { bootOptions } from './dist.ts'
import { createFleet, type Fleet } from './fleet.ts'
import { type Front, type FrontOptions, startFront } from './front/server.ts'
import { type Quota, throttle } from './front/throttle.ts'
import { startBuckets } from './s3/server.ts'
import type { SandboxOptions } from './sandbox.ts'
import { startQueueServer } from './sqs.ts'
import { startTrigger, type Trigger } from './trigger.ts'

export interface StackOptions {
  /** what `pack` built, and its index */
  readonly dist: string
  readonly index: DistIndex
  readonly arch: Arch
  readonly settings: Settings
  readonly http?: HttpOptions
  readonly quota?: Quota
  readonly stage?: string
  readonly region: string
  readonly batch?: BatchOptions
  readonly capture?: DeployOptions['capture']
  /** where buckets are folders */
  readonly data: string
  /** environments of a function at a time, where it reserves none */
  readonly concurrency: number
  readonly front?: Pick<FrontOptions, 'port' | 'host' | 'limits'>
  readonly sandbox?: Pick<SandboxOptions, 'kind' | 'node' | 'cache'>
  readonly idleMs?: number
  /** REPORT lines, and whatever else would be in CloudWatch */
  readonly log: (line: string) => void
}

export interface Stack {
  readonly front?: Front
  readonly access?: Access
  /** the S3 endpoint */
  readonly s3?: string
  readonly limits: readonly string[]
  close(): Promise<void>
}

/** The bucket of the deployment is the build itself: nothing is copied. */
const DEPLOYMENT = 'modelayer-deployment'
export const FETCHED = `s3://${DEPLOYMENT}/${STORES}/`
/** Where file systems are folders; no bucket can have this name. */
const SHARED = '.file-system'

/** The deployed stack on this machine: front, functions in their environments, buckets and queue. */
export async function startStack(o: StackOptions): Promise<Stack> {
  const { http, batch, log } = o
  const opened: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const end of opened.toReversed()) await end()
  }

  try {
    const folders = foldersOf(o)
    const buckets = Object.keys(folders).length > 0 ? await startBuckets({ folders }) : undefined
    if (buckets) opened.push(buckets.close)
    let trigger: Trigger | undefined
    const queues = batch && (await startQueueServer(() => trigger?.queue))
    if (queues) opened.push(queues.close)
    const endpoints = { s3: buckets?.url, sqs: queues?.url }
    // a bucket has no folders, but whoever drops a file wants one to drop it into
    for (const p of batch ? [batch.input, batch.output] : [])
      mkdirSync(join(folders[p.bucket]!, p.prefix), { recursive: true })
    const fleet = async (name: 'predict' | 'batch', s: FunctionSettings): Promise<Fleet> => {
      const made = createFleet({
        boot: { ...bootOf(o, name, s, endpoints), onLog: (text) => text.trim() && log(text.trimEnd()) },
        concurrency: s.reserved ?? o.concurrency,
        idleMs: o.idleMs,
        onLine: log,
      })
      opened.push(made.close)
      // one at least, so that what cannot start is told now and not to the first client
      await made.warm(Math.max(1, s.provisioned ?? 0))
      return made
    }
    const predict = await fleet('predict', o.settings.predict)
    const access = http && (await accessOf(http, o.region))
    const front =
      http &&
      (await startFront({
        api: http.api,
        invoke: predict.invoke,
        gate: access?.gate,
        throttle: throttle({ rate: http.throttle, quota: o.quota }),
        cors: http.cors,
        stage: o.stage,
        region: o.region,
        log,
        ...o.front,
      }))
    if (front) opened.push(front.close)
    if (batch && buckets && o.settings.batch) {
      const worker = await fleet('batch', o.settings.batch)
      const { bucket, prefix } = batch.input
      trigger = startTrigger({
        bucket,
        folder: folders[bucket]!,
        prefix,
        invoke: worker.invoke,
        maxReceives: batch.options.maxReceives,
        onEvent: (key) => log(`s3://${bucket}/${key} was created`),
        onDead: ({ body, receives }) => log(`DEAD LETTER after ${receives} receives: ${keysOf(body).join(', ')}`),
      })
      opened.push(trigger.stop)
    }
    return { front, access, s3: buckets?.url, limits: predict.limits, close }
  } catch (e) {
    await close()
    throw e
  }
}

/** What the sandbox boots for a function: the zips in the order of its layers, and the settings it would be deployed with. */
export function bootOf(
  o: Pick<StackOptions, 'dist' | 'index' | 'arch' | 'region' | 'sandbox' | 'data'>,
  name: string,
  s: FunctionSettings,
  { s3, sqs }: { readonly s3?: string; readonly sqs?: string } = {},
): SandboxOptions {
  const { functionName, handler, memory, timeoutSeconds, tmp } = s
  const shared = s.mounts ? sharedFolder(o.data) : undefined
  const role = {
    // Lambda gives a function the keys of its role; these are of no use outside
    AWS_ACCESS_KEY_ID: 'ASIASANDBOX',
    AWS_SECRET_ACCESS_KEY: 'sandbox',
    AWS_SESSION_TOKEN: 'sandbox',
    AWS_REGION: o.region,
    AWS_DEFAULT_REGION: o.region,
    ...(s3 !== undefined && { AWS_ENDPOINT_URL_S3: s3 }),
    ...(sqs !== undefined && { AWS_ENDPOINT_URL_SQS: sqs }),
  }
  return {
    ...bootOptions(o.dist, o.index, o.arch, name),
    ...o.sandbox,
    functionName,
    handler,
    memory,
    timeoutSeconds,
    tmp,
    shared,
    env: { ...role, ...s.env },
  }
}

/** Environments have a user of their own, whom an access point would let write. */
function sharedFolder(data: string): string {
  const folder = join(data, SHARED)
  mkdirSync(folder, { recursive: true })
  chmodSync(folder, 0o777)
  return folder
}

function foldersOf({ batch, capture, index, dist, data }: StackOptions): Record<string, string> {
  const places: (S3Place | undefined)[] = [batch?.input, batch?.output, capture]
  return Object.fromEntries([
    ...places.flatMap((p) => (p ? [[p.bucket, join(data, p.bucket)]] : [])),
    ...(index.fetched.length > 0 ? [[DEPLOYMENT, dist]] : []),
  ])
}

/** Which objects a message was about; never more of it. */
function keysOf(body: string): string[] {
  const { Records = [] } = JSON.parse(body) as { readonly Records?: readonly { readonly s3: S3Record }[] }
  return Records.map(({ s3 }) => `s3://${s3.bucket.name}/${decodeURIComponent(s3.object.key.replaceAll('+', '%20'))}`)
}

interface S3Record {
  readonly bucket: { readonly name: string }
  readonly object: { readonly key: string }
}
