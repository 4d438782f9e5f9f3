import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { zipSync } from 'fflate'
import { bundleFunction } from '../../packager/bundle/function.ts'
import { type Arch, loadDefinition, NATIVE_LAYERS } from '../../packager/layers/definition.ts'
import { layerSources } from '../../packager/layers/fetch.ts'
import { filesBelow } from '../../packager/layers/files.ts'
import { writeZip } from '../../packager/layers/zip.ts'
import { writeModel } from '../../packager/onnx/write.ts'
import { defaultCache, projectRoot } from '../../packager/root.ts'
import { KINDS } from '../../packager/sandbox/box.ts'
import { Sandbox, type SandboxOptions } from '../../packager/sandbox/sandbox.ts'
import { isAppError } from '../../src/errors.ts'
import { CARRIED, runAll } from '../fixtures/sandbox/dtypes.ts'

const fixtures = join(projectRoot(), 'test', 'fixtures', 'sandbox')
const work = mkdtempSync(join(tmpdir(), 'modelayer-sandbox-'))
after(() => rmSync(work, { recursive: true, force: true }))

const zip = join(work, 'function.zip')
const entries = await filesBelow(join(fixtures, 'function'), '.')
await writeZip(entries, zip)

const arch = process.arch as Arch
const start = (o: Partial<SandboxOptions> = {}) =>
  Sandbox.start({ layers: [], function: zip, handler: 'index.handler', arch, ...o })

async function withSandbox<T>(o: Partial<SandboxOptions>, use: (s: Sandbox) => Promise<T>): Promise<T> {
  const sandbox = await start(o)
  try {
    return await use(sandbox)
  } finally {
    await sandbox.close()
  }
}

process.env.ORT_DISABLE_TELEMETRY = '1'

/** What this machine can do; the tests below ask for no more and say so. */
const best = await withSandbox({}, async ({ kind, limits }) => ({ kind, limits }))
const boxed = best.kind !== 'plain'
const noBox = boxed ? false : `no box on this machine: ${best.limits.join('; ')}`

test('the box: Lambda user, read-only root, /var/task and /opt, only /tmp writable, nothing of the host', {
  skip: noBox,
}, async () => {
  await withSandbox({ memory: 512, env: { OWN: 'yes' } }, async (sandbox) => {
    const { response } = await sandbox.invoke({ do: 'probe' })
    const r = response as Record<string, unknown> & { env: Record<string, string>; remaining: number }
    assert.deepEqual(r.user, [993, 990, 'sbx_user1051'])
    assert.equal(r.cwd, '/var/task')
    assert.deepEqual(r.write, {
      '/': 'EROFS',
      '/var/task/': 'EROFS',
      '/opt/': 'EROFS',
      '/tmp/': 'written',
      '/dev/': 'EROFS',
      '/etc/': 'EROFS',
    })
    assert.equal(r.tmpMB, 512)
    assert.match(String(r.setuid), /EPERM|EINVAL/)
    assert.match(String(r.kernel), /EROFS|EACCES/)
    assert.equal(r.devices, 'written')
    assert.ok(Number(r.processes) <= 3, 'no process of the host in sight')
    const root = r.root as string[]
    for (const host of ['home', 'root', 'usr', 'work', 'bin', 'sys']) {
      assert.ok(!root.includes(host), `/${host} is in the box`)
    }
    assert.equal(r.env.LD_LIBRARY_PATH?.includes('/opt/lib'), true)
    assert.equal(r.env.NODE_PATH?.includes('/opt/nodejs/node_modules'), true)
    assert.equal(r.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE, '512')
    assert.equal(r.env.OWN, 'yes')
    assert.equal(r.env.HOME, undefined)
    assert.ok(r.remaining > 25_000 && r.remaining <= 30_000)
    assert.equal(r.memory, '512')
  })
})

for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
  const skip = kind === 'plain' ? false : kind === 'root' && best.kind !== 'root' ? 'not root' : noBox
  test(`${kind}: the project's node_modules are out of reach`, { skip }, async (t) => {
    // present in the project, so that only the box can be the reason
    const modules = ['typescript', 'esbuild', 'fflate', 'onnxruntime-node', 'sharp']
    for (const m of modules) assert.ok(import.meta.resolve(m))
    try {
      await withSandbox({ kind }, async (sandbox) => {
        const { response } = await sandbox.invoke({ do: 'probe', modules })
        const found = (response as { modules: Record<string, string> }).modules
        for (const m of modules) assert.equal(found[m], 'MODULE_NOT_FOUND', m)
        assert.equal(sandbox.kind, kind)
      })
    } catch (e) {
      if (kind === 'user' && isAppError(e) && e.code === 'SANDBOX_FAILED') return t.skip(e.message)
      throw e
    }
  })
}

test('answers, logs, errors and crashes; the next request always works', async () => {
  await withSandbox({ timeoutSeconds: 3 }, async (sandbox) => {
    assert.equal(sandbox.init.error, undefined)
    const echo = async (restarted: boolean) => {
      const r = await sandbox.invoke({ do: 'echo', text: 'é\u2028' })
      assert.deepEqual(r.response, { do: 'echo', text: 'é\u2028' })
      assert.equal(r.restarted, restarted)
    }
    const errorOf = async (event: object) => (await sandbox.invoke(event)).error

    await echo(false)
    const printed = await sandbox.invoke({ do: 'print', lines: 2000 })
    assert.equal(printed.response, null)
    assert.equal(printed.log.split('\n').length, 2002)
    assert.match(printed.log, /\tINFO\tline 0\n(.*\n)*.*\tINFO\tline 1999\n.*\tERROR\tlast\n$/)
    assert.ok(printed.log.startsWith(new Date().toISOString().slice(0, 10)) && printed.log.includes(printed.requestId))

    const failed = await errorOf({ do: 'fail' })
    assert.equal(failed?.errorType, 'RangeError')
    assert.equal(failed?.errorMessage, 'no such thing')
    assert.match(failed?.trace?.join('\n') ?? '', /index\.js:\d+/)
    await echo(false)

    assert.match((await errorOf({ do: 'circular' }))?.errorMessage ?? '', /circular/)
    await echo(false)

    const exited = await errorOf({ do: 'exit', code: 3 })
    assert.equal(exited?.errorType, 'Runtime.ExitError')
    assert.match(exited?.errorMessage ?? '', /^RequestId: [\w-]+ Error: Runtime exited with error: exit status 3$/)
    await echo(true)

    assert.match((await errorOf({ do: 'exit', code: 0 }))?.errorMessage ?? '', /without providing a reason$/)
    assert.match((await errorOf({ do: 'abort' }))?.errorMessage ?? '', /signal: aborted$/)
    const rejected = await errorOf({ do: 'reject' })
    assert.equal(rejected?.errorType, 'Runtime.UnhandledPromiseRejection')
    assert.equal(rejected?.errorMessage, 'nobody waits')
    await echo(true)

    const late = await errorOf({ do: 'spin' })
    assert.equal(late?.errorType, 'Sandbox.Timedout')
    assert.match(late?.errorMessage ?? '', /Task timed out after 3\.00 seconds$/)
    await echo(true)

    const both = await Promise.all([sandbox.invoke({ do: 'echo', n: 1 }), sandbox.invoke({ do: 'echo', n: 2 })])
    assert.deepEqual(
      both.map((r) => (r.response as { n: number }).n),
      [1, 2],
    )
  })
})

test('payloads of 6 MB pass, larger ones are refused as Lambda refuses them', async () => {
  await withSandbox({}, async (sandbox) => {
    const fits = await sandbox.invoke({ do: 'big', bytes: 6_291_554 })
    assert.equal(fits.payload?.length, 6_291_556)
    const out = await sandbox.invoke({ do: 'big', bytes: 6_291_555 })
    assert.equal(out.error?.errorType, 'Function.ResponseSizeTooLarge')
    assert.match(
      out.error?.errorMessage ?? '',
      /6291557 bytes\) exceeded maximum allowed payload size \(6291556 bytes\)/,
    )
    const event = { do: 'echo', x: '' }
    event.x = 'x'.repeat(6_291_456 - JSON.stringify(event).length)
    assert.equal((await sandbox.invoke(event)).error, undefined)
    const into = await sandbox.invoke({ ...event, x: `${event.x}x` })
    assert.equal(into.error?.errorType, 'RequestEntityTooLargeException')
    assert.equal((await sandbox.invoke({ do: 'echo' })).error, undefined)
  })
})

test('more memory than the function has: OutOfMemory, and a fresh start', {
  skip: best.limits.some((l) => l.startsWith('memory')) && best.limits.join('; '),
}, async () => {
  await withSandbox({ memory: 1024 }, async (sandbox) => {
    assert.equal((await sandbox.invoke({ do: 'eat', mb: 300 })).response, 300)
    const { error, log } = await sandbox.invoke({ do: 'eat', mb: 1200 })
    assert.equal(log, '')
    assert.equal(error?.errorType, 'Runtime.OutOfMemory')
    assert.match(error?.errorMessage ?? '', /signal: killed$/)
    assert.equal((await sandbox.invoke({ do: 'echo' })).restarted, true)
  })
})

test('init errors are told at start and by every request, each with its type', async () => {
  const cases = {
    'broken.handler': ['Error', /cannot start/],
    'absent.handler': ['Runtime.ImportModuleError', /Cannot find module 'absent'/],
    'syntax.handler': ['Runtime.UserCodeSyntaxError', /Unexpected token|SyntaxError/],
    'index.none': ['Runtime.HandlerNotFound', /index\.none is undefined/],
    'index.notAFunction': ['Runtime.HandlerNotFound', /not exported/],
    nonsense: ['Runtime.MalformedHandlerName', /FILE\.EXPORT/],
  } as const
  for (const [handler, [type, message]] of Object.entries(cases)) {
    await withSandbox({ handler }, async (sandbox) => {
      assert.equal(sandbox.init.error?.errorType, type, handler)
      if (handler.startsWith('broken')) assert.match(sandbox.init.log, /about to break/)
      const again = await sandbox.invoke({})
      assert.equal(again.error?.errorType, type, handler)
      assert.match(again.error?.errorMessage ?? '', message)
    })
  }
})

test('an init phase without end is cut off, and again under the request’s timeout', async () => {
  await withSandbox({ handler: 'slow.handler', initSeconds: 0.3, timeoutSeconds: 1 }, async (sandbox) => {
    assert.equal(sandbox.init.error?.errorType, 'Sandbox.Timedout')
    const { error, restarted } = await sandbox.invoke({})
    assert.match(error?.errorMessage ?? '', /Task timed out after 1\.00 seconds$/)
    assert.ok(restarted)
  })
})

test('ES modules, callbacks and streamed answers', async () => {
  await withSandbox({ handler: 'module.handler' }, async (sandbox) => {
    assert.deepEqual((await sandbox.invoke({ a: 1 })).response, { file: 'module.mjs', event: { a: 1 } })
  })
  const old = Number(process.versions.node.split('.')[0]) < 24
  await withSandbox({ handler: 'index.callback' }, async (sandbox) => {
    const { response, error } = await sandbox.invoke(1)
    if (old) assert.deepEqual(response, { got: 1 })
    else assert.equal(error?.errorType, 'Runtime.CallbackHandlerDeprecated')
  })
  await withSandbox({ handler: 'index.streamed' }, async (sandbox) => {
    const { payload, contentType } = await sandbox.invoke({})
    assert.equal(contentType, 'application/vnd.awslambda.http-integration-response')
    assert.equal(payload?.toString('latin1'), `{"statusCode":201}${'\0'.repeat(8)}part 1, part 2`)
  })
})

async function nativeLayers(): Promise<string[]> {
  const layers: string[] = []
  for (const name of NATIVE_LAYERS) {
    const sources = await layerSources(loadDefinition(name).files[arch], arch, defaultCache())
    const out = join(work, `${name}.zip`)
    await writeZip(
      sources.map((s) => ({ name: s.to, path: s.path, sha256: s.sha256 })),
      out,
      { cache: defaultCache() },
    )
    layers.push(out)
  }
  return layers
}

test('native code of both layers loads from /opt, and from nowhere else', async () => {
  const folder = join(work, 'natives')
  await bundleFunction('predict', join(fixtures, 'natives.ts'), folder)
  const layers = await nativeLayers()
  const png = readFileSync(join(projectRoot(), 'examples', 'mnist', 'digits', '7.png')).toString('base64')
  await withSandbox({ layers, function: folder, handler: 'predict.handler' }, async (sandbox) => {
    assert.deepEqual((await sandbox.invoke({})).response, { loaded: 'warning' })
    const image = await sandbox.invoke({ png })
    assert.equal((image.response as { width: number }).width, 28)
  })
  await withSandbox({ layers: layers.slice(0, 1), function: folder, handler: 'predict.handler' }, async (sandbox) => {
    const { error } = await sandbox.invoke({ png })
    assert.match(error?.errorMessage ?? '', /Cannot find module '@img\/sharp-linux/)
  })
  await withSandbox({ function: folder, handler: 'predict.handler' }, async (sandbox) => {
    assert.equal(sandbox.init.error?.errorType, 'Runtime.ImportModuleError')
  })
})

test('the bundled onnxruntime gives what the package gives, for every dtype and error', async () => {
  const folder = join(work, 'dtypes')
  mkdirSync(folder)
  for (const dtype of CARRIED) {
    const info = { dtype, shape: ['n', 2] }
    const node = { type: 'Identity', domain: '', name: 'id', inputs: ['x'], outputs: ['y'], attrs: {} }
    const [inputs, outputs] = [[{ ...info, name: 'x' }], [{ ...info, name: 'y' }]]
    const graph = { name: 'g', nodes: [node], inputs, outputs, initializers: new Map(), info: new Map() }
    writeModel(join(folder, `${dtype}.onnx`), graph, '0')
  }
  writeFileSync(join(folder, 'damaged.onnx'), 'no model')
  await bundleFunction('predict', join(fixtures, 'dtypes.ts'), folder)
  const expected = await runAll(folder)
  assert.deepEqual(expected.string, {
    dtype: 'string',
    shape: [2, 2],
    kind: 'Array',
    data: ['', 'a', 'é', '日本'],
  })
  assert.equal(expected.damaged, 'LOAD_FAILED')
  const layers = await nativeLayers()
  await withSandbox({ layers, function: folder, handler: 'predict.handler' }, async (sandbox) => {
    const dir = boxed ? '/var/task' : folder
    assert.deepEqual((await sandbox.invoke({ dir })).response, JSON.parse(JSON.stringify(expected)))
  })
})

test('later layers overwrite earlier ones', async () => {
  const layer = (name: string, text: string) => {
    const path = join(work, name)
    writeFileSync(path, zipSync({ 'nodejs/node_modules/which/index.js': Buffer.from(`module.exports='${text}'`) }))
    return path
  }
  const layers = [layer('first.zip', 'first'), layer('second.zip', 'second')]
  const folder = join(work, 'which')
  mkdirSync(folder)
  writeFileSync(join(folder, 'index.js'), `exports.handler = async () => require('which')`)
  await withSandbox({ layers, function: folder }, async (sandbox) => {
    assert.equal((await sandbox.invoke({})).response, 'second')
  })
})

test('damaged or hostile zips, and models that differ from their manifest, are refused', async () => {
  const bytes = Buffer.from('x')
  const manifest = (sha256: string) => Buffer.from(JSON.stringify({ format: 1, files: { 'm.onnx': sha256 } }))
  const cases: Record<string, Uint8Array> = {
    'climbs out': zipSync({ '../x': bytes }),
    absolute: zipSync({ '/etc/x': bytes }),
    backslash: zipSync({ '..\\x': bytes }),
    truncated: zipSync({ x: bytes }).subarray(0, 40),
    'not a zip': bytes,
    'wrong hash': zipSync({ 'models/m/1/manifest.json': manifest('0'.repeat(64)), 'models/m/1/m.onnx': bytes }),
    'missing file': zipSync({ 'models/m/1/manifest.json': manifest('0'.repeat(64)) }),
  }
  for (const [name, data] of Object.entries(cases)) {
    const path = join(work, `${name}.zip`)
    writeFileSync(path, data)
    await assert.rejects(start({ layers: [path] }), (e) => isAppError(e) && e.code === 'BAD_ARTIFACT', name)
  }
  await assert.rejects(start({ layers: [join(work, 'none.zip')] }), (e) => isAppError(e) && e.code === 'BAD_ARTIFACT')
  await assert.rejects(start({ memory: 64 }), (e) => isAppError(e) && e.code === 'USAGE')
})

test('zips of another architecture run on this machine’s own native code, and that is said', async () => {
  const other = arch === 'x64' ? 'arm64' : 'x64'
  await withSandbox({ arch: other }, async (sandbox) => {
    assert.equal(sandbox.kind, 'plain')
    assert.ok(sandbox.limits.some((l) => l.includes(`the layers hold linux-${other}`)))
    const { response } = await sandbox.invoke({ do: 'echo', a: 1 })
    assert.deepEqual(response, { do: 'echo', a: 1 })
  })
})

test('nothing outlives the process that started the sandbox, however it ends', async () => {
  for (const signal of ['SIGKILL', 'SIGINT'] as const) {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const port = String((server.address() as AddressInfo).port)
    const script = [join(fixtures, 'holder.ts'), zip, port, best.kind]
    const holder = spawn(process.execPath, ['--import', 'tsx', ...script], { stdio: ['ignore', 'inherit', 'inherit'] })
    const [socket] = await once(server, 'connection')
    const closed = once(socket.resume(), 'close')
    holder.kill(signal)
    await closed
    server.close()
  }
})
