/** `work` on each item, at most `width` at a time; begins the next where one ends. The first failure ends it. */
export async function eachOf<T>(
  items: AsyncIterable<T> | Iterable<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>()
  for await (const item of items) {
    const one = work(item).finally(() => running.delete(one))
    running.add(one)
    if (running.size >= width) await Promise.race(running)
  }
  await Promise.all(running)
}
