// A JSONL object of 2 GB through the packaged function in a sandbox of 512 MB, from a real S3 API: node --import tsx bench/batch-memory.ts [GB]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import S3rver from 's3rver'
import { bundleFunction, functionEntry } from '../packager/bundle/function.ts'
import { type Arch, loadDefinition } from '../packager/layers/definition.ts'
import { layerSources } from '../packager/layers/fetch.ts'
import { writeZip } from '../packager/layers/zip.ts'
import { openAny } from '../packager/package/open.ts'
import { defaultCache, projectRoot } from '../packager/root.ts'
import { createQueue, type Queue, s3Event } from '../packager/sandbox/queue.ts'
import { Sandbox } from '../packager/sandbox/sandbox.ts'
import { startQueueServer } from '../packager/sandbox/sqs.ts'
import { stagePackage } from '../packager/stage.ts'
import { reliable } from '../src/batch/reliable.ts'
import { createS3Store } from '../src/batch/s3store.ts'
import { openSink, publish } from '../src/batch/sink.ts'

const gigabytes = Number(process.argv[2] ?? 2)
process.env.ORT_DISABLE_TELEMETRY = '1'
process.env.AWS_ACCESS_KEY_ID = 'S3RVER'
process.env.AWS_SECRET_ACCESS_KEY = 'S3RVER'
const work = mkdtempSync(join(tmpdir(), 'modelayer-memory-'))
const configureBuckets = ['in', 'out'].map((name) => ({ name, configs: [] }))
const s3 = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory: join(work, 's3'), configureBuckets })
const { port } = await s3.run()
const endpoint = `http://127.0.0.1:${port}`
try {
  const store = reliable(createS3Store({ endpoint, region: 'us-east-1' }))
  const ref = { bucket: 'in', key: 'digits.jsonl' }
  const records = await fill(store, ref)
  console.log(`${records.toLocaleString('en-US')} records, ${gigabytes} GB`)

  const arch = process.arch as Arch
  const { files } = await bundleFunction('batch', functionEntry('batch'), join(work, 'function'))
  await writeZip(files, join(work, 'batch.zip'))
  const sources = await layerSources(loadDefinition('runtime').files[arch], arch, defaultCache(), () => undefined)
  const runtime = sources.map((s) => ({ name: s.to, path: s.path, bytes: s.bytes, sha256: s.sha256 }))
  await writeZip(runtime, join(work, 'runtime.zip'), { cache: defaultCache() })
  const model = join(work, 'model')
  const { dir, manifest } = await stagePackage(await openAny(join(projectRoot(), 'examples/mnist')), model)
  // the tensors themselves are the records here
  const { hooks: _, fields: __, ...bare } = manifest
  writeFileSync(join(dir, 'manifest.json'), JSON.stringify(bare))

  let peak = 0
  const watch = setInterval(() => {
    peak = Math.max(peak, peakOf())
  }, 200)
  let queue: Queue | undefined
  const queues = await startQueueServer(() => queue)
  const sandbox = await Sandbox.start({
    layers: [join(work, 'runtime.zip'), model],
    function: join(work, 'batch.zip'),
    handler: 'batch.handler',
    functionName: 'batch',
    memory: 512,
    timeoutSeconds: 120,
    arch,
    env: {
      MODELAYER_BATCH_INPUT: 's3://in/',
      MODELAYER_BATCH_OUTPUT: 's3://out/',
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ENDPOINT_URL_SQS: queues.url,
      AWS_ACCESS_KEY_ID: 'S3RVER',
      AWS_SECRET_ACCESS_KEY: 'S3RVER',
    },
    onLog: (text) => process.stdout.write(text),
  })
  console.log(`box ${sandbox.kind}; not limited here: ${sandbox.limits.join('; ') || 'nothing'}`)
  const start = performance.now()
  queue = createQueue({ invoke: sandbox.invoke, visibilityMs: 100, maxReceives: 1000 })
  queue.send(s3Event('in', ref.key))
  const { invocations, dead } = await queue.drain()
  const seconds = (performance.now() - start) / 1000
  clearInterval(watch)
  await sandbox.close()
  await queues.close()
  const rate = Math.round(records / seconds).toLocaleString('en-US')
  console.log(
    `${invocations} invocations of at most 120 s, ${seconds.toFixed(0)} s, ${rate} records/s, dead letters ${dead.length}`,
  )
  console.log(`peak RSS of the function ${(peak / 1024).toFixed(0)} MB`)
  for await (const { key, size } of store.list('out', '')) console.log(key, size)
} finally {
  await s3.close()
  rmSync(work, { recursive: true, force: true })
}

/** Digits of 784 numbers a line, about 2.2 kB. */
async function fill(store: ReturnType<typeof reliable>, ref: { bucket: string; key: string }): Promise<number> {
  const rows = Array.from({ length: 64 }, (_, k) => {
    const images = Array.from({ length: 784 }, (_, i) => ((i * 7 + k * 13) % 10 < 8 ? 0 : ((i * 31 + k) % 1000) / 1000))
    return `${JSON.stringify({ images })}\n`
  })
  const block = Buffer.from(rows.join(''))
  const sink = openSink(store, ref)
  let records = 0
  for (let size = 0; size < gigabytes * 1e9; size += block.length) {
    await sink.write(block)
    records += rows.length
  }
  await publish(store, ref, await sink.seal())
  return records
}

/** The process of the sandbox is a node that runs our bootstrap; VmHWM is its peak in kB. */
function peakOf(): number {
  let most = 0
  for (const pid of children()) {
    try {
      most = Math.max(most, Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0))
    } catch (e) {
      // it ended between the two looks
      if (!['ENOENT', 'ESRCH'].includes(String((e as NodeJS.ErrnoException).code))) throw e
    }
  }
  return most
}

function children(of = process.pid): number[] {
  try {
    const text = readFileSync(`/proc/${of}/task/${of}/children`, 'utf8')
    const own = text.split(' ').filter(Boolean).map(Number)
    return own.flatMap((pid) => [pid, ...children(pid)])
  } catch (e) {
    if (['ENOENT', 'ESRCH'].includes(String((e as NodeJS.ErrnoException).code))) return []
    throw e
  }
}
