import { formatOf } from './formats/index.ts'
import type { ObjectInfo, RecordFormat } from './types.ts'

/** Who works at the same time: as many as there are places for. First come, first served. */
export interface Turns {
  take(places: number): Promise<Turn>
}

export interface Turn {
  /** Gives its places back and waits for all of them. */
  alone(): Promise<void>
  end(): void
}

/** An object of one record waits for the store most of the time. */
export const PLACES = { all: 16, single: 1, small: 4 } as const

/** Larger objects, and what names others, have the graph and all threads for themselves. */
const LARGE_BYTES = 2 ** 20

export function isLarge({ size }: ObjectInfo, format: RecordFormat): boolean {
  return size >= LARGE_BYTES || format.lists === true
}

export function placesFor(info: ObjectInfo, format: RecordFormat): number {
  if (format.single) return PLACES.single
  return isLarge(info, format) ? PLACES.all : PLACES.small
}

/** Objects of one record before those that may take long. */
export function singlesFirst<T>(items: readonly T[], keyOf: (item: T) => string, format: string | undefined): T[] {
  const single = (item: T) => formatOf(keyOf(item), format)?.single === true
  return [...items.filter(single), ...items.filter((i) => !single(i))]
}

export function createTurns(all: number = PLACES.all): Turns {
  let free = all
  const waiting: { readonly places: number; begin(): void }[] = []
  const next = () => {
    for (let w = waiting[0]; w && w.places <= free; w = waiting[0]) {
      free -= w.places
      waiting.shift()
      w.begin()
    }
  }
  const wait = (places: number) =>
    new Promise<void>((begin) => {
      waiting.push({ places, begin })
      next()
    })
  return {
    async take(wanted) {
      let held = Math.min(wanted, all)
      await wait(held)
      const end = () => {
        free += held
        held = 0
        next()
      }
      const alone = async () => {
        if (held === all) return
        end()
        await wait(all)
        held = all
      }
      return { alone, end }
    },
  }
}
