import { AppError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { linesOf } from '../lines.ts'
import type { BatchRecord, ObjectRef, ReadContext, RecordFormat, RecordInput } from '../types.ts'
import { elementsOf } from './elements.ts'
import { inventoryOf, listed } from './inventory.ts'
import { badRecord, broken, maxOf, tooLarge } from './limits.ts'
import { attempt, isObject } from './value.ts'

/**
 * Lists of objects: ModelArts' (a line `{"source": …}` each), SageMaker's (`[{"prefix": …}, "a.csv", …]`) and the manifest.json of
 * an S3 Inventory. Which one it is, the content says. A place without a scheme is below the folder of the list.
 */
export const manifest = {
  name: 'manifest',
  suffixes: ['.manifest', 'manifest.json'],
  match: (head) => /^\s*[{[]/.test(Buffer.from(head).toString('utf8').replace('\ufeff', '')),
  lists: true,
  read: readManifest,
} as const satisfies RecordFormat

async function* readManifest(context: ReadContext): AsyncGenerator<BatchRecord> {
  const begin = await beginningOf(context)
  if (begin.startsWith('[')) return yield* readSageMaker(context)
  if (/^\{\s*"source *"/.test(begin) || !(await isInventory(context))) return yield* readLines(context)
  yield* inventoryOf(context)
}

async function beginningOf({ bytes }: ReadContext): Promise<string> {
  const head: Uint8Array[] = []
  for await (const chunk of bytes(0, 512)) head.push(chunk)
  return Buffer.concat(head).toString('utf8').replace('\ufeff', '').trimStart()
}

/** An inventory's manifest is one object over many lines, or one line with its files. */
async function isInventory(context: ReadContext): Promise<boolean> {
  if (context.info.size > MAX_INVENTORY) return false
  const all: Uint8Array[] = []
  for await (const chunk of context.bytes()) all.push(chunk)
  return Buffer.concat(all).includes('"fileSchema"')
}

const MAX_INVENTORY = 2 ** 26

async function* readLines(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from } = context
  const offset = from?.offset ?? 0
  let record = from?.record ?? 0
  for await (const { bytes, tooLong, next } of linesOf(context.bytes(offset), { offset, max: maxOf(context) })) {
    if (!tooLong && bytes.toString('latin1').trim() === '') continue
    const input = tooLong
      ? tooLarge('the line')
      : attempt<RecordInput>(
          () => sourceOf(parseJson(bytes, 'the line'), context),
          (i) => i,
        )
    yield listed(record, input, { record: ++record, offset: next })
  }
}

function sourceOf(line: unknown, context: ReadContext): RecordInput {
  const source = isObject(line) ? (line.source ?? line['source ']) : undefined
  if (typeof source !== 'string') return badRecord('the line', 'a member source', 'none')
  return { kind: 'object', ref: refOf(source, context) }
}

async function* readSageMaker(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, info } = context
  const offset = from?.offset ?? 0
  let record = from?.record ?? 0
  const said = from?.extra as { prefix: string; last: boolean } | undefined
  if (said?.last) return
  let prefix = said?.prefix
  const limits = { where: info.key, max: maxOf(context), offset }
  for await (const { bytes, tooLong, next, last } of elementsOf(context.bytes(offset), limits)) {
    const value = tooLong ? undefined : parseJson(bytes, `${info.key}, element ${record}`)
    if (prefix === undefined) {
      if (!isObject(value) || typeof value.prefix !== 'string') throw broken(info.key, '{"prefix": …} first', 'another')
      prefix = value.prefix
      continue
    }
    const place = prefix
    const input =
      typeof value === 'string'
        ? attempt<RecordInput>(
            () => ({ kind: 'object', ref: refOf(place + value, context) }),
            (i) => i,
          )
        : badRecord('the element', 'the rest of a key', 'another value')
    yield listed(record, input, { record: ++record, offset: next, extra: { prefix, last } })
  }
}

/** @throws {AppError} BAD_INPUT */
function refOf(place: string, { info }: ReadContext): ObjectRef {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(place)?.[1]?.toLowerCase()
  if (scheme === undefined) {
    const folder = info.key.slice(0, info.key.lastIndexOf('/') + 1)
    return { bucket: info.bucket, key: folder + place }
  }
  const [, bucket, key] = /^[^:]+:\/\/([^/]+)\/(.+)$/s.exec(place) ?? []
  if ((scheme === 's3' || scheme === 'obs') && bucket !== undefined && key !== undefined && !key.endsWith('/'))
    return { bucket, key }
  if (/^https?$/.test(scheme) && URL.canParse(place)) {
    const { origin, pathname, search, username, password } = new URL(place)
    // servers that want a name and a password get them by other ways than a file that many can read
    if (username === '' && password === '') return { bucket: origin, key: pathname.slice(1), query: search }
  }
  throw new AppError('BAD_INPUT', {
    where: 'a place in a list',
    expected: 's3://bucket/key or https://host/path',
    got: /^https?$/.test(scheme) ? 'an address that cannot be read, or with a password' : 'another',
  })
}
