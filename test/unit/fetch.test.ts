import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readFetchSettings } from '../../src/boot.ts'
import { isAppError } from '../../src/errors.ts'
import { type FetchSettings, fetchModel } from '../../src/fetch/fetch.ts'
import { signerOf } from '../../src/fetch/get.ts'
import { locked } from '../../src/fetch/lock.ts'

const work = mkdtempSync(join(tmpdir(), 'modelayer-fetch-'))
after(() => rmSync(work, { recursive: true, force: true }))

const MB = 2 ** 20
const content = randomBytes(21 * MB + 17)
const sha = (b: Uint8Array) => createHash('sha256').update(b).digest('hex')
const code = (wanted: string, text: RegExp) => (e: unknown) => {
  assert.ok(isAppError(e), String(e))
  assert.equal(e.code, wanted, e.message)
  assert.match(e.message, text)
  return true
}

/** What the store does with the n-th request; undefined: what S3 does. */
type Mood = (n: number, from: number, res: ServerResponse, req: IncomingMessage) => boolean | undefined

async function withStore<T>(
  mood: Mood,
  use: (s: FetchSettings, asked: { range: string; path: string }[]) => Promise<T>,
  body = content,
) {
  const asked: { range: string; path: string }[] = []
  const server = createServer((req, res) => {
    const range = String(req.headers.range)
    asked.push({ range, path: req.url! })
    const [, from = 0, to = 0] = /^bytes=(\d+)-(\d+)$/.exec(range)?.map(Number) ?? []
    if (mood(asked.length, from, res, req)) return
    const part = body.subarray(from, to + 1)
    res.writeHead(206, { 'content-length': part.length, 'content-range': `bytes ${from}-${to}/${body.length}` })
    res.end(part)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const root = mkdtempSync(join(work, 'root-'))
  const credentials = { accessKeyId: 'AKID', secretAccessKey: 'SECRET', sessionToken: 'TOKEN' }
  const store = { bucket: 'b', prefix: 'modelayer/models/', region: 'eu-central-1', endpoint, credentials }
  try {
    return await use({ store, root, shared: false }, asked)
  } finally {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  }
}

/** A layer whose weights are elsewhere. */
function layer(
  files: Record<string, { sha256: string; bytes: number }> = {
    'weights.bin': { sha256: sha(content), bytes: content.length },
  },
) {
  const dir = mkdtempSync(join(work, 'layer-'))
  writeFileSync(join(dir, 'manifest.json'), JSON.stringify({ format: 1, files }))
  mkdirSync(join(dir, 'assets'))
  writeFileSync(join(dir, 'assets', 'labels.txt'), 'cat')
  writeFileSync(join(dir, 'fetch.json'), JSON.stringify({ files }))
  return dir
}

const whole = (dir: string) => readFileSync(join(dir, 'weights.bin')).equals(content)
const calm: Mood = () => undefined

test('ranges in parallel become one file beside the small ones; a second look fetches nothing', async () => {
  await withStore(calm, async (s, asked) => {
    const dir = layer()
    const first = await fetchModel(dir, s)
    assert.ok(whole(first.dir))
    assert.equal(readFileSync(join(first.dir, 'assets', 'labels.txt'), 'utf8'), 'cat')
    assert.equal(first.bytes, content.length)
    assert.deepEqual(readdirSync(join(s.root, 'files')), [sha(content)])
    assert.deepEqual(asked.map((a) => a.range).sort(), [
      'bytes=0-8388607',
      'bytes=16777216-22020112',
      'bytes=8388608-16777215',
    ])
    assert.equal(asked[0]!.path, `/b/modelayer/models/${sha(content)}`)
    const second = await fetchModel(dir, s)
    assert.deepEqual([second.dir, second.bytes, asked.length], [first.dir, 0, 3])
  })
})

test('two files of one content are fetched once', async () => {
  const blob = { sha256: sha(content), bytes: content.length }
  await withStore(calm, async (s, asked) => {
    const { dir } = await fetchModel(layer({ 'weights.bin': blob, 'more/copy.bin': blob }), s)
    assert.ok(whole(dir) && readFileSync(join(dir, 'more', 'copy.bin')).equals(content))
    assert.equal(asked.length, 3)
  })
})

/** Faults that pass: each once or twice, then S3 as it should be. */
const PASSING: Readonly<Record<string, Mood>> = {
  'a reset before the answer': (n, _, res) => n <= 2 && !res.destroy().writable,
  'slow down': (n, _, res) => n <= 3 && !!res.writeHead(503).end('SlowDown'),
  'a server error': (n, _, res) => n === 2 && !!res.writeHead(500).end(),
  'too many requests': (n, _, res) => n === 1 && !!res.writeHead(429).end(),
  'a truncated body': (n, _, res) => {
    if (n > 2) return false
    res.writeHead(206, { 'content-length': 8 * MB })
    res.write(content.subarray(0, 100))
    setTimeout(() => res.destroy(), 20)
    return true
  },
}

for (const [name, mood] of Object.entries(PASSING))
  test(`tried again: ${name}`, async () => {
    // what a truncated body holds is the start of the first range only
    const at =
      name === 'a truncated body'
        ? (n: number, from: number, res: ServerResponse, req: IncomingMessage) =>
            from === 0 ? mood(n, from, res, req) : false
        : mood
    await withStore(at, async (s) => assert.ok(whole((await fetchModel(layer(), s)).dir)))
  })

const LASTING: readonly [name: string, mood: Mood, code: string, text: RegExp][] = [
  [
    'no such object',
    (_, __, res) => !!res.writeHead(404).end('<Error><Code>NoSuchKey</Code></Error>'),
    'MODEL_MISPLACED',
    /s3:\/\/b\/modelayer\/models\/[0-9a-f]{64} but received no such object \(404\)\. Deploy again/,
  ],
  [
    'access denied',
    (_, __, res) => !!res.writeHead(403).end(),
    'MODEL_MISPLACED',
    /access denied \(403\).*s3:GetObject/,
  ],
  ['a shorter object', (_, __, res) => !!res.writeHead(416).end(), 'MODEL_MISPLACED', /416/],
  ['another status', (_, __, res) => !!res.writeHead(301).end(), 'MODEL_MISPLACED', /status 301/],
  ['always busy', (_, __, res) => !!res.writeHead(503).end(), 'MODEL_UNREACHABLE', /status 503/],
]

for (const [name, mood, wanted, text] of LASTING)
  test(`given up: ${name}`, async () => {
    await withStore(mood, async (s) => {
      await assert.rejects(fetchModel(layer(), s), code(wanted, text))
      assert.deepEqual(readdirSync(join(s.root, 'models')), [])
    })
  })

test('another content under the name is refused and not kept', async () => {
  const other = Buffer.from(content)
  other[9 * MB]! ^= 1
  await withStore(
    calm,
    async (s) => {
      await assert.rejects(fetchModel(layer(), s), code('MODEL_MISPLACED', /the content that its name says/))
      assert.deepEqual(readdirSync(join(s.root, 'files')), [])
    },
    other,
  )
})

test('what an earlier process wrote is not fetched again; where it is wrong, all of it is', async () => {
  for (const right of [true, false])
    await withStore(calm, async (s, asked) => {
      mkdirSync(join(s.root, 'files'), { recursive: true })
      const part = Buffer.alloc(content.length)
      content.copy(part, 0, 0, 8 * MB)
      content.copy(part, 8 * MB, 8 * MB, 9 * MB)
      if (!right) part[5]! ^= 1
      writeFileSync(join(s.root, 'files', `${sha(content)}.part`), part)
      writeFileSync(join(s.root, 'files', `${sha(content)}.ranges`), Buffer.from(Uint32Array.of(8 * MB, MB, 0).buffer))
      assert.ok(whole((await fetchModel(layer(), s)).dir))
      const ranges = asked.map((a) => a.range)
      assert.deepEqual(ranges.slice(0, 2).sort(), ['bytes=16777216-22020112', 'bytes=9437184-16777215'])
      assert.equal(ranges.length, right ? 2 : 5)
      assert.deepEqual(readdirSync(join(s.root, 'files')), [sha(content)])
    })
})

test('a disk that is too small is said before anything is fetched', async () => {
  await withStore(calm, async (s, asked) => {
    const big = layer({ 'weights.bin': { sha256: sha(content), bytes: 2 ** 50 } })
    await assert.rejects(fetchModel(big, s), code('NO_ROOM', /bytes free.*ephemeral storage.*10,240 MB/))
    assert.equal(asked.length, 0)
  })
})

test('without a place to fetch from the message says how to name one', async () => {
  await assert.rejects(
    fetchModel(layer(), { store: undefined, root: join(work, 'none'), shared: false }),
    code('MODEL_MISPLACED', /MODELAYER_MODELS=s3:\/\/BUCKET\/PREFIX\//),
  )
})

test('nobody answers', async () => {
  const store = {
    bucket: 'b',
    prefix: '',
    region: 'r',
    endpoint: 'http://127.0.0.1:9',
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
  }
  await assert.rejects(
    fetchModel(layer(), { store, root: join(work, 'nobody'), shared: false }),
    code('MODEL_UNREACHABLE', /ECONNREFUSED/),
  )
})

test('a shared disk: of eight that start at once, one fetches', async () => {
  await withStore(calm, async (s, asked) => {
    const dir = layer()
    const all = await Promise.all(Array.from({ length: 8 }, () => fetchModel(dir, { ...s, shared: true })))
    for (const f of all) assert.ok(whole(f.dir))
    assert.equal(asked.length, 3)
    assert.deepEqual(readdirSync(join(s.root, 'files')), [sha(content)])
    assert.equal(readdirSync(join(s.root, 'models')).length, 1)
  })
})

test('a lock whose holder died is taken over, one that lives is waited for, and a failure frees it', async () => {
  const lock = join(work, 'lock')
  const times = { beatMs: 20, staleMs: 1000, pollMs: 5 }
  writeFileSync(lock, '')
  utimesSync(lock, new Date(0), new Date(0))
  let worked = 0
  let done = false
  const work1 = async () => {
    worked++
    await new Promise((resolve) => setTimeout(resolve, 2500))
    done = true
  }
  await Promise.all(Array.from({ length: 4 }, () => locked(lock, async () => done, work1, times)))
  assert.equal(worked, 1)
  await assert.rejects(
    locked(
      lock,
      async () => false,
      async () => Promise.reject(new Error('no')),
      times,
    ),
    /no/,
  )
  await locked(
    lock,
    async () => worked === 2,
    async () => void worked++,
    times,
  )
  assert.equal(worked, 2)
})

test('of many that find a lock stale one gets it, and nobody takes it from that one', async () => {
  const lock = join(work, 'stale')
  for (let round = 0; round < 100; round++) {
    writeFileSync(lock, '')
    utimesSync(lock, new Date(0), new Date(0))
    let [inside, done] = [0, 0]
    const work1 = async () => {
      assert.equal(++inside, 1)
      await new Promise((resolve) => setTimeout(resolve, 1))
      inside--
      done++
    }
    const times = { beatMs: 1000, staleMs: 60_000, pollMs: 0 }
    await Promise.all(Array.from({ length: 8 }, () => locked(lock, async () => done > 0, work1, times)))
    assert.equal(done, 1)
  }
})

// "GET Object" of the examples in AWS's documentation of Signature Version 4 for S3
test('requests are signed as AWS says', async () => {
  const credentials = {
    accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  }
  const sign = signerOf('us-east-1', credentials)
  const url = new URL('https://examplebucket.s3.amazonaws.com/')
  const headers = await sign(url, '/test.txt', 'bytes=0-9', new Date('2013-05-24T00:00:00Z'))
  assert.match(headers.authorization!, /Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41$/)
})

test('the session token travels with the request, and no secret does', async () => {
  let seen: IncomingMessage['headers'] = {}
  const look: Mood = (_, __, ___, req) => {
    seen = req.headers
    return false
  }
  await withStore(look, async (s) => fetchModel(layer(), s))
  assert.equal(seen['x-amz-security-token'], 'TOKEN')
  assert.doesNotMatch(JSON.stringify(seen), /SECRET/)
})

test('the environment says where from and where to', () => {
  const env = {
    MODELAYER_MODELS: 's3://bucket/a/b',
    AWS_REGION: 'eu-west-1',
    AWS_ACCESS_KEY_ID: 'i',
    AWS_SECRET_ACCESS_KEY: 's',
    AWS_SESSION_TOKEN: 't',
  }
  assert.deepEqual(readFetchSettings(env), {
    store: {
      bucket: 'bucket',
      prefix: 'a/b/',
      region: 'eu-west-1',
      endpoint: undefined,
      credentials: { accessKeyId: 'i', secretAccessKey: 's', sessionToken: 't' },
    },
    root: '/tmp/modelayer',
    shared: false,
  })
  const efs = readFetchSettings({ MODELAYER_MODELS: 's3://b', MODELAYER_MODELS_ROOT: '/mnt/models' })
  assert.deepEqual(
    [efs.store?.prefix, efs.store?.credentials, efs.root, efs.shared],
    ['', undefined, '/mnt/models', true],
  )
  for (const wrong of [undefined, '', 'bucket', 'https://b/'])
    assert.equal(readFetchSettings({ MODELAYER_MODELS: wrong }).store, undefined)
})
