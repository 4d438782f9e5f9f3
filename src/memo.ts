/** A promise that concurrent callers share and that is dropped after a failure, so that a retry can succeed. */
export function memo<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | undefined
  return () => {
    loading ??= load().catch((e: unknown) => {
      loading = undefined
      throw e
    })
    return loading
  }
}
