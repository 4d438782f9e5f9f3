/** The smallest first. */
export class Heap<T> {
  private readonly list: T[] = []
  private readonly key: (t: T) => number

  constructor(key: (t: T) => number) {
    this.key = key
  }

  get size(): number {
    return this.list.length
  }

  peek(): T | undefined {
    return this.list[0]
  }

  push(item: T): void {
    const { list, key } = this
    let i = list.push(item) - 1
    while (i > 0) {
      const up = (i - 1) >> 1
      if (key(list[up]!) <= key(list[i]!)) return
      this.swap(i, up)
      i = up
    }
  }

  pop(): T | undefined {
    const { list, key } = this
    const first = list[0]
    const last = list.pop()
    if (list.length === 0 || last === undefined) return first
    list[0] = last
    for (let i = 0; ; ) {
      const [left, right] = [2 * i + 1, 2 * i + 2]
      let least = i
      if (left < list.length && key(list[left]!) < key(list[least]!)) least = left
      if (right < list.length && key(list[right]!) < key(list[least]!)) least = right
      if (least === i) return first
      this.swap(i, least)
      i = least
    }
  }

  private swap(i: number, j: number): void {
    const { list } = this
    const moved = list[i]!
    list[i] = list[j]!
    list[j] = moved
  }
}
