import type { ObjectRef, ObjectStore, PartUpload, WriteOptions, Written } from './types.ts'

/** What has been written to an object so far: parts in the store, and what is too little for one. JSON. */
export interface SinkState {
  readonly id?: string
  readonly parts: readonly { readonly size: number; readonly etag: string }[]
  /** base64 */
  readonly tail: string
  /** the first bytes, base64, kept back where their head is known at the end only */
  readonly first?: string
}

export const EMPTY: SinkState = { parts: [], tail: '' }

/** An object written as a stream in constant memory: one part is filled while the one before it is on its way. */
export interface Sink {
  write(bytes: string | Uint8Array): Promise<void>
  /** Everything so far is in the store or in the state. */
  save(): Promise<SinkState>
  /** The same, with the head filled in. */
  seal(head?: Uint8Array): Promise<SinkState>
}

export function openSink(
  store: ObjectStore,
  ref: ObjectRef,
  { state = EMPTY, reserve = 0, contentType }: { state?: SinkState; reserve?: number; contentType?: string } = {},
): Sink {
  const parts = [...state.parts]
  const head = reserve > 0
  let first: Buffer | undefined = state.first === undefined ? undefined : Buffer.from(state.first, 'base64')
  let pending: Uint8Array[] = []
  let size = 0
  let upload: PartUpload | undefined
  let flying: Promise<void> = Promise.resolve()

  const add = (bytes: Uint8Array) => {
    pending.push(bytes)
    size += bytes.length
  }
  if (state === EMPTY && head) add(Buffer.alloc(reserve))
  else add(Buffer.from(state.tail, 'base64'))

  const open = () => {
    upload ??= store.upload(ref, { contentType, ...(state.id !== undefined && { id: state.id }) })
    return upload
  }

  const send = async (number: number, bytes: Uint8Array) => {
    parts[number] = await open().part(number, bytes)
  }

  const cut = (): Buffer => {
    const all = Buffer.concat(pending, size)
    pending = []
    size = 0
    return all
  }

  const save = async (): Promise<SinkState> => {
    await flying
    const sent = parts.length > 0
    return {
      ...(sent && { id: await open().id() }),
      parts: [...parts],
      tail: Buffer.concat(pending, size).toString('base64'),
      ...(first && { first: first.toString('base64') }),
    }
  }

  return {
    save,
    async write(bytes) {
      const chunk = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
      if (chunk.length === 0) return
      add(chunk)
      if (size < open().partSize) return
      await flying
      const body = cut()
      if (head && !first) {
        first = body
        // a place for it, until its bytes are known
        parts[0] = { size: body.length, etag: '' }
        return
      }
      const number = parts.length
      parts[number] = { size: body.length, etag: '' }
      flying = send(number, body)
      // told by whoever awaits it next
      flying.catch(() => undefined)
    },
    async seal(bytes) {
      await flying
      if (bytes) {
        const start = first ?? cut()
        start.set(bytes, 0)
        if (first) await send(0, start)
        else add(start)
        first = undefined
      }
      return save()
    },
  }
}

/** Makes the object visible, whole and at once. Doing it again, also from another process, does no more. */
export async function publish(
  store: ObjectStore,
  ref: ObjectRef,
  state: SinkState,
  options: WriteOptions = {},
): Promise<Written> {
  const tail = Buffer.from(state.tail, 'base64')
  if (state.parts.length === 0) return store.put(ref, tail, options)
  const upload = store.upload(ref, { ...options, id: state.id })
  const parts = tail.length > 0 ? [...state.parts, await upload.part(state.parts.length, tail)] : state.parts
  return upload.complete(parts, { only: options.only })
}

/** What was uploaded and will not be completed. */
export async function discard(store: ObjectStore, ref: ObjectRef, { id }: SinkState): Promise<void> {
  if (id !== undefined) await store.upload(ref, { id }).abort()
}

export function isEmpty(state: SinkState): boolean {
  return state.parts.length === 0 && state.tail === ''
}
