import { memo } from '../memo.ts'
import type { ObjectRef, ObjectStore, ReadOptions } from './types.ts'

const isWeb = ({ bucket }: ObjectRef) => /^https?:/.test(bucket)

/** The same store, in which web addresses can be read where `sources` names them. Loaded by those who meet one. */
export function withWeb(store: ObjectStore, sources: readonly string[] = []): ObjectStore {
  const web = memo(async () => {
    const { webAccess } = await import('./webaccess.ts')
    const { createWebStore } = await import('./webstore.ts')
    return createWebStore(webAccess(sources))
  })
  async function* read(ref: ObjectRef, options?: ReadOptions) {
    yield* (await web()).read(ref, options)
  }
  return {
    ...store,
    stat: async (ref) => (isWeb(ref) ? (await web()).stat(ref) : store.stat(ref)),
    read: (ref, options) => (isWeb(ref) ? read(ref, options) : store.read(ref, options)),
    file: (info) => (isWeb(info) ? undefined : store.file?.(info)),
  }
}
