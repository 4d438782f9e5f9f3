import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import S3rver from 's3rver'
import { bundleFunction, functionEntry } from '../../packager/bundle/function.ts'
import { type Arch, loadDefinition } from '../../packager/layers/definition.ts'
import { layerSources } from '../../packager/layers/fetch.ts'
import { writeZip } from '../../packager/layers/zip.ts'
import { defaultCache } from '../../packager/root.ts'
import { httpEvent } from '../../packager/sandbox/events.ts'
import { createQueue, s3Event, sqsEvent } from '../../packager/sandbox/queue.ts'
import { Sandbox } from '../../packager/sandbox/sandbox.ts'
import { startQueueServer } from '../../packager/sandbox/sqs.ts'
import { readWhole } from '../../src/batch/reliable.ts'
import { createS3Store } from '../../src/batch/s3store.ts'
import { type CaptureOptions, sampled } from '../../src/capture/capture.ts'
import type { HttpRequest } from '../../src/types.ts'
import { stage } from '../fixtures/batch/job.ts'

const arch = process.arch as Arch
const work = mkdtempSync(join(tmpdir(), 'modelayer-e2e-observe-'))
const keys = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' }
Object.assign(process.env, keys)
const configureBuckets = ['in', 'out', 'kept'].map((name) => ({ name, configs: [] }))
const s3 = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory: join(work, 's3'), configureBuckets })
const { port } = await s3.run()
const endpoint = `http://127.0.0.1:${port}`
const store = createS3Store({ endpoint, region: 'us-east-1' })

after(async () => {
  await s3.close()
  rmSync(work, { recursive: true, force: true })
})

before(async () => {
  for (const name of ['predict', 'batch']) {
    const { files } = await bundleFunction(name, functionEntry(name), join(work, name))
    await writeZip(files, join(work, `${name}.zip`))
  }
  const sources = await layerSources(loadDefinition('runtime').files[arch], arch, defaultCache(), () => undefined)
  const runtime = sources.map((s) => ({ name: s.to, path: s.path, bytes: s.bytes, sha256: s.sha256 }))
  await writeZip(runtime, join(work, 'runtime.zip'), { cache: defaultCache() })
  stage(join(work, 'model'))
})

type Line = Record<string, unknown> & { readonly ms?: Readonly<Record<string, number>> }

async function booted(name: string, env: Record<string, string>, traced = false) {
  const sandbox = await Sandbox.start({
    layers: [join(work, 'runtime.zip'), join(work, 'model')],
    function: join(work, `${name}.zip`),
    handler: `${name}.handler`,
    functionName: name,
    arch,
    traced,
    env: { ...keys, AWS_ENDPOINT_URL_S3: endpoint, ...env },
  })
  const linesOf = (log: string) =>
    log
      .split('\n')
      .filter((l) => l.startsWith('{'))
      .map((l) => JSON.parse(l) as Line)
  return {
    sandbox,
    async ask(request: Partial<HttpRequest> = {}) {
      const { headers, query, ...rest } = { ...question, ...request }
      const { response, log } = await sandbox.invoke({ ...httpEvent(rest), headers, rawQueryString: query })
      return { status: (response as { statusCode: number }).statusCode, lines: linesOf(log), log }
    },
    linesOf,
  }
}

const question: HttpRequest = {
  method: 'POST',
  path: '/v1/models/softmax:predict',
  query: 'key=in-the-query',
  headers: { 'content-type': 'application/json', authorization: 'Bearer in-a-header', 'x-api-key': 'in-a-header' },
  body: Buffer.from(JSON.stringify({ instances: [{ x: [1, 2, 3, 4] }] })),
  requestId: '',
}

const metricsOf = (lines: readonly Line[]) => lines.filter((l) => '_aws' in l)

test('predict: a line and its metrics for each request, with the split of the cold start once', async () => {
  const env = { POWERTOOLS_METRICS_NAMESPACE: 'modelayer', POWERTOOLS_SERVICE_NAME: 'digits' }
  const { sandbox, ask } = await booted('predict', env)
  try {
    const cold = await ask()
    assert.equal(cold.status, 200, cold.log)
    const [line, metrics] = cold.lines as [Line, Line]
    assert.deepEqual(
      [line.level, line.service, line.function_name, line.cold_start],
      ['INFO', 'digits', 'predict', true],
    )
    assert.match(String(line.function_request_id), /^[\w-]{36}$/)
    assert.match(String(line.xray_trace_id), /^1-[0-9a-f]{8}-[0-9a-f]{24}$/)
    assert.deepEqual(
      [metrics.service, metrics.function, metrics.model, metrics.version],
      ['digits', 'predict', 'softmax', '1'],
    )
    const { ColdBoot, ColdRuntime, ColdSession, ColdFirst, Duration, Infer } = metrics as Record<string, number>
    assert.ok(ColdRuntime! > 0 && ColdSession! > 0 && ColdRuntime! + ColdSession! < ColdBoot!, JSON.stringify(metrics))
    assert.ok(Infer! > 0 && Infer! < Duration! && ColdFirst === Duration)
    const warm = await ask()
    assert.equal(warm.lines[0]!.cold_start, false)
    assert.equal('ColdBoot' in warm.lines[1]!, false)
    const wrong = await ask({ body: Buffer.from('{"instances": [{"x": [1, 2]}]}') })
    assert.equal(wrong.status, 400)
    const [said] = metricsOf(wrong.lines)
    assert.deepEqual([said!.Errors, said!.ClientErrors, said!.code], [1, 1, (wrong.lines[0]!.error as Line).code])
  } finally {
    await sandbox.close()
  }
})

test('batch: objects and records, by Powertools', async () => {
  const queue = createQueue({ invoke: async () => assert.fail('nothing is delivered') })
  const queues = await startQueueServer(() => queue)
  const { sandbox, linesOf } = await booted('batch', {
    MODELAYER_BATCH_INPUT: 's3://in/',
    MODELAYER_BATCH_OUTPUT: 's3://out/',
    POWERTOOLS_METRICS_NAMESPACE: 'modelayer',
    POWERTOOLS_SERVICE_NAME: 'digits',
    AWS_ENDPOINT_URL_SQS: queues.url,
  })
  try {
    const body = Buffer.from('{"x": [1, 2, 3, 4]}\n{"x": [1]}\n{"x": [4, 3, 2, 1]}\n')
    await store.put({ bucket: 'in', key: 'a.jsonl' }, body)
    const event = sqsEvent([
      { id: '1', receives: 1, body: JSON.stringify(s3Event('in', 'a.jsonl', { size: body.length })) },
    ])
    const first = linesOf((await sandbox.invoke(event)).log)
    const [{ Objects, RecordsAnswered, RecordsFailed, service, function: name }] = metricsOf(first) as [Line]
    assert.deepEqual([Objects, RecordsAnswered, RecordsFailed, service, name], [1, 2, 1, 'digits', 'batch'])
    assert.match(String(first[0]!.function_request_id), /^[\w-]{36}$/)
    // what a repeated message finds done is not counted again
    assert.deepEqual(metricsOf(linesOf((await sandbox.invoke(event)).log)), [])
    assert.ok(first.every((l) => l.level !== 'WARN'))
  } finally {
    await sandbox.close()
    await queues.close()
  }
})

const capture: CaptureOptions = {
  bucket: 'kept',
  prefix: 'c/',
  percent: 100,
  redact: ['$.meta.uuid'],
  bodies: 'both',
  files: 'hash',
}
const captureEnv = (o: Partial<CaptureOptions> = {}) => ({ MODELAYER_CAPTURE: JSON.stringify({ ...capture, ...o }) })

async function written(prefix: string): Promise<{ key: string; text: string }[]> {
  const found: { key: string; text: string }[] = []
  for await (const { bucket, key } of store.list('kept', prefix))
    found.push({ key, text: (await readWhole(store, { bucket, key })).toString() })
  return found
}

test('capture: the requests of the sample, redacted, without headers, before the answer', async () => {
  const percent = 30
  const { sandbox, ask } = await booted('predict', {
    ...captureEnv({ percent }),
    POWERTOOLS_METRICS_NAMESPACE: 'modelayer',
  })
  try {
    const ids: string[] = []
    for (let i = 0; i < 40; i++) {
      const body = Buffer.from(JSON.stringify({ x: [[1, 2, 3, i]], meta: { uuid: 'a-name' } }))
      const { status, lines, log } = await ask({ path: '/', body })
      assert.equal(status, 200, log)
      const [line] = lines
      const id = String(line!.requestId)
      assert.equal(line!.captured, sampled(id, percent) ? true : undefined, log)
      assert.equal(metricsOf(lines)[0]!.Captured, line!.captured ? 1 : undefined)
      if (line!.captured) ids.push(id)
    }
    const objects = await written('c/softmax/1/')
    assert.ok(ids.length > 0 && ids.length < 40)
    const events = objects.map(({ text }) => JSON.parse(text))
    assert.deepEqual(events.map((e) => e.eventMetadata.eventId).sort(), ids.sort())
    for (const { key, text } of objects) {
      assert.match(key, /^c\/softmax\/1\/\d{4}\/\d\d\/\d\d\/\d\d\/[\w.-]+\.jsonl$/)
      assert.doesNotMatch(text, /a-name|in-a-header|in-the-query/)
      assert.equal(text.indexOf('\n'), text.length - 1)
    }
    const { endpointInput, endpointOutput } = events[0].captureData
    assert.deepEqual(
      [endpointInput.mode, endpointInput.encoding, endpointInput.observedContentType],
      ['INPUT', 'JSON', 'application/json'],
    )
    assert.equal(JSON.parse(endpointInput.data).meta.uuid, '[redacted]')
    const { y, meta } = JSON.parse(endpointOutput.data)
    assert.deepEqual([y.length, meta.uuid], [1, '[redacted]'])
  } finally {
    await sandbox.close()
  }
})

test('capture never costs an answer: a store that is gone, refuses, or never answers', async () => {
  const hanging: Server = createServer(() => undefined)
  const refusing: Server = createServer((_, response) => response.writeHead(403).end())
  const at = async (server: Server) => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const stores = { gone: 'http://127.0.0.1:9', hanging: await at(hanging), refusing: await at(refusing) }
  try {
    for (const [name, url] of Object.entries(stores)) {
      const { sandbox, ask } = await booted('predict', { ...captureEnv(), AWS_ENDPOINT_URL_S3: url })
      try {
        for (let i = 0; i < 2; i++) {
          const body = Buffer.from('{"x": [[1, 2, 3, 4]], "meta": {"uuid": "a-name"}}')
          const { status, lines, log } = await ask({ path: '/', body })
          assert.equal(status, 200, `${name}: ${log}`)
          const [warning, line] = lines as [Line, Line]
          assert.deepEqual([warning.level, warning.message], ['WARN', 'The request was not captured'])
          assert.equal((warning.error as Line).code, name === 'hanging' ? 'DEADLINE' : 'STORE_FAILED')
          assert.equal(line.captured, false)
          assert.ok(line.ms!.capture! < 2000, `${name} took ${line.ms!.capture}`)
          assert.doesNotMatch(log, /a-name/)
        }
      } finally {
        await sandbox.close()
      }
    }
  } finally {
    hanging.closeAllConnections()
    hanging.close()
    refusing.close()
  }
})

test('settings of capture that cannot be read cost the records and not the answers', async () => {
  for (const [setting, says] of [
    ['{', /received another text/],
    ['{"bucket": "kept", "prefix": ""}', /received one without percent/],
  ] as const) {
    const { sandbox, ask } = await booted('predict', { MODELAYER_CAPTURE: setting })
    try {
      assert.match(sandbox.init.log, /Nothing is captured/)
      assert.match(sandbox.init.log, says)
      assert.equal((await ask({ path: '/', body: Buffer.from('{"x": [[1, 2, 3, 4]]}') })).status, 200)
    } finally {
      await sandbox.close()
    }
  }
})

test('tracing: a subsegment of the request’s trace for each step, with the code of what failed', async () => {
  const daemon = createSocket('udp4')
  const segments: Record<string, unknown>[] = []
  daemon.on('message', (m) => segments.push(JSON.parse(m.toString().split('\n')[1]!)))
  daemon.bind(0, '127.0.0.1')
  await once(daemon, 'listening')
  const env = { MODELAYER_TRACING: '1', AWS_XRAY_DAEMON_ADDRESS: `127.0.0.1:${daemon.address().port}` }
  const { sandbox, ask } = await booted('predict', env, true)
  try {
    assert.equal(sandbox.init.log, '')
    for (const [body, names, failed] of [
      ['{"x": [[1, 2, 3, 4]]}', ['pre', 'infer', 'post'], []],
      ['{"x": [[1, 2]]}', ['pre'], ['WRONG_SHAPE']],
      ['{"x": [[4, 3, 2, 1]]}', ['pre', 'infer', 'post'], []],
    ] as const) {
      segments.length = 0
      const { lines, log } = await ask({ path: '/', body: Buffer.from(body) })
      assert.equal(lines.length, 1, log)
      for (let i = 0; i < 50 && segments.length < names.length; i++) await sleep(10)
      assert.deepEqual(
        segments.map((s) => s.name),
        names,
      )
      for (const s of segments) assert.equal(s.trace_id, lines[0]!.xray_trace_id)
      assert.deepEqual(
        segments.flatMap((s) => (s.annotations as { code?: string } | undefined)?.code ?? []),
        failed,
      )
      assert.doesNotMatch(log, /ERROR/)
    }
  } finally {
    await sandbox.close()
    daemon.close()
  }
})

test('what is captured of a file is its hash', async () => {
  const { sandbox, ask } = await booted('predict', captureEnv({ prefix: 'files/' }))
  try {
    // one row of the Open Inference Protocol's binary tensors is no JSON, so it is a file as a whole
    const head = JSON.stringify({
      inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 4], parameters: { binary_data_size: 16 } }],
    })
    const body = Buffer.concat([Buffer.from(head), Buffer.from(Float32Array.of(1, 2, 3, 4).buffer)])
    const headers = { 'content-type': 'application/octet-stream', 'inference-header-content-length': `${head.length}` }
    const { status, log } = await ask({ path: '/v2/models/softmax/infer', headers, body })
    assert.equal(status, 200, log)
    const [record] = await written('files/')
    const { data } = JSON.parse(record!.text).captureData.endpointInput
    assert.deepEqual(JSON.parse(data), { bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') })
  } finally {
    await sandbox.close()
  }
})
