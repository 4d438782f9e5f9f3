import { lookup } from 'node:dns'
import { request as http, type IncomingMessage } from 'node:http'
import { request as https } from 'node:https'
import type { LookupFunction } from 'node:net'
import { AppError } from '../errors.ts'
import { changed, notFound } from './foldstore.ts'
import { between } from './formats/limits.ts'
import type { ObjectInfo, ObjectRef, ReadOptions } from './types.ts'
import { isPrivate, type WebAccess } from './webaccess.ts'

const LIMITS = { redirects: 5, idleMs: 20_000, wholeMs: 300_000, bytes: 2 ** 30 } as const

export type WebLimits = { readonly [name in keyof typeof LIMITS]?: number }

/** Objects that lie behind a web address: buckets are origins, keys are paths. To be read only, in what servers know of that. */
export function createWebStore(access: WebAccess, some: WebLimits = {}) {
  const limits = { ...LIMITS, ...some }

  /** By GET even for the head of it: a signed address is signed for one method. */
  async function get(ref: ObjectRef, headers: Readonly<Record<string, string>>): Promise<IncomingMessage> {
    let url = new URL(`${ref.bucket}/${ref.key}${ref.query ?? ''}`)
    for (let hops = 0; ; hops++) {
      access.check(url)
      const answer = await send(url, headers, access.publicOnly(url), limits.idleMs).catch(failed(ref))
      const { statusCode = 0, headers: said } = answer
      if (![301, 302, 303, 307, 308].includes(statusCode) || said.location === undefined) return answer
      answer.destroy()
      if (hops >= limits.redirects || !URL.canParse(said.location, url.href)) throw refused(ref, 'too many redirects')
      url = new URL(said.location, url)
    }
  }

  function accepted(ref: ObjectRef, answer: IncomingMessage): IncomingMessage {
    const status = answer.statusCode ?? 0
    if (status === 200 || status === 206) return answer
    answer.destroy()
    if (status === 404 || status === 410) throw notFound(ref)
    if (status === 412) throw changed(ref)
    if (status >= 500 || status === 408 || status === 429)
      throw new AppError('STORE_FAILED', { where: nameOf(ref), got: `${status}` })
    throw refused(ref, `${status}`)
  }

  async function* body(ref: ObjectRef, answer: IncomingMessage): AsyncGenerator<Uint8Array> {
    const wanted = answer.headers['content-length']
    const late = setTimeout(() => answer.destroy(new Error('timeout')), limits.wholeMs)
    let got = 0
    try {
      for await (const chunk of answer as AsyncIterable<Uint8Array>) {
        got += chunk.length
        if (got > limits.bytes)
          throw new AppError('BODY_TOO_LARGE', {
            where: nameOf(ref),
            expected: `at most ${limits.bytes} bytes`,
            got: 'more',
          })
        yield chunk
      }
    } catch (e) {
      failed(ref)(e)
    } finally {
      clearTimeout(late)
      answer.destroy()
    }
    if (wanted !== undefined && got < Number(wanted))
      throw new AppError('STORE_FAILED', { where: nameOf(ref), expected: `${wanted} bytes`, got: `${got}` })
  }

  return {
    async stat(ref: ObjectRef): Promise<ObjectInfo | undefined> {
      const answer = await get(ref, { range: 'bytes=0-0' })
      const { statusCode, headers } = answer
      answer.destroy()
      const range = headers['content-range']
      // a range of an empty file is none
      const size =
        statusCode === 416
          ? 0
          : statusCode === 206
            ? Number(/\/(\d+)$/.exec(range ?? '')?.[1])
            : Number(headers['content-length'] ?? Number.NaN)
      if (statusCode !== 416) accepted(ref, answer)
      if (!Number.isSafeInteger(size)) throw refused(ref, 'an answer that does not tell its size')
      if (size > limits.bytes)
        throw new AppError('BODY_TOO_LARGE', {
          where: nameOf(ref),
          expected: `at most ${limits.bytes} bytes`,
          got: `${size}`,
        })
      return { ...ref, size, etag: etagOf(headers, size), modified: Date.parse(headers['last-modified'] ?? '') || 0 }
    },
    async *read(ref: ObjectRef, { start = 0, end, ifMatch }: ReadOptions = {}): AsyncGenerator<Uint8Array> {
      if (end !== undefined && end <= start) return
      const range: Record<string, string> =
        start > 0 || end !== undefined ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {}
      const answer = await get(ref, range)
      if (answer.statusCode === 416) return void answer.destroy()
      accepted(ref, answer)
      const { headers, statusCode } = answer
      const whole =
        statusCode === 206
          ? Number(/\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1])
          : Number(headers['content-length'])
      if (ifMatch !== undefined && etagOf(headers, whole) !== ifMatch) {
        answer.destroy()
        throw changed(ref)
      }
      // servers may pay no heed to ranges
      yield* statusCode === 206 ? body(ref, answer) : between(body(ref, answer), start, end)
    },
  }
}

/** What a server tells of the content; without that, its size. */
function etagOf(headers: IncomingMessage['headers'], size: number): string {
  return headers.etag?.replaceAll('"', '') ?? headers['last-modified'] ?? `${size} bytes`
}

/** Without the query, which may hold a signature. */
const nameOf = ({ bucket, key }: ObjectRef) => `${bucket}/${key}`

function refused(ref: ObjectRef, got: string): AppError {
  const fix = /^40[13]$/.test(got) ? 'A signed address may have expired.' : undefined
  return new AppError('STORE_REFUSED', { where: nameOf(ref), got, fix })
}

function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  publicOnly: boolean,
  timeout: number,
): Promise<IncomingMessage> {
  // an address in numbers is not looked up
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (publicOnly && /^[\d.]+$|:/.test(host) && isPrivate(host)) throw notPublic(url)
  return new Promise((resolve, reject) => {
    const own = { 'user-agent': 'modelayer', accept: '*/*', 'accept-encoding': 'identity', ...headers }
    const options = { headers: own, timeout, agent: false as const, ...(publicOnly && { lookup: publicLookup(url) }) }
    const sent = (url.protocol === 'https:' ? https : http)(url, options, resolve)
    sent.on('timeout', () => sent.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })))
    sent.on('error', reject)
    sent.end()
  })
}

/** Looks at the very address that is connected to: what a name meant a moment before proves nothing. */
function publicLookup(url: URL): LookupFunction {
  return (hostname, options, done) => {
    lookup(hostname, { ...options, all: true }, (e, found) => {
      if (e) return done(e, '', 4)
      if (found.length === 0 || found.some((f) => isPrivate(f.address))) return done(notPublic(url) as Error, '', 4)
      if (options.all) return done(null, found)
      done(null, found[0]!.address, found[0]!.family)
    })
  }
}

function notPublic({ origin, pathname }: URL): AppError {
  return new AppError('BAD_INPUT', {
    where: `${origin}${pathname}`,
    expected: 'an address on the internet',
    got: 'one of a private network',
    fix: `Name this very server in webSources (${origin}) if it is meant.`,
  })
}

function failed(ref: ObjectRef): (e: unknown) => never {
  return (cause) => {
    if (cause instanceof AppError) throw cause
    const { code } = cause as NodeJS.ErrnoException
    throw new AppError('STORE_FAILED', { where: nameOf(ref), got: code ?? 'an error of the connection', cause })
  }
}
