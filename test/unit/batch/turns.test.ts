import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as settled } from 'node:timers/promises'
import { createTurns } from '../../../src/batch/turns.ts'

/** Takes turns under names; `at` tells who has one. */
function table(all: number) {
  const turns = createTurns(all)
  const at = new Set<string>()
  return {
    at: async () => {
      await settled()
      return [...at].join('')
    },
    async sit(name: string, places: number) {
      const turn = await turns.take(places)
      at.add(name)
      return {
        async alone() {
          at.delete(name)
          await turn.alone()
          at.add(name)
        },
        leave() {
          at.delete(name)
          turn.end()
        },
      }
    },
  }
}

test('small ones together, large ones alone, nobody overtakes', async () => {
  const t = table(4)
  const a = await t.sit('a', 1)
  const b = await t.sit('b', 2)
  const large = t.sit('L', 9)
  const c = t.sit('c', 1)
  assert.equal(await t.at(), 'ab')
  a.leave()
  assert.equal(await t.at(), 'b')
  b.leave()
  assert.equal(await t.at(), 'L')
  ;(await large).leave()
  assert.equal(await t.at(), 'c')
  ;(await c).leave()
})

test('whoever wants to be alone waits for the others, and two of them for each other', async () => {
  const t = table(4)
  const [a, b, c] = await Promise.all([t.sit('a', 1), t.sit('b', 1), t.sit('c', 2)])
  const first = a.alone()
  const second = b.alone()
  assert.equal(await t.at(), 'c')
  c.leave()
  assert.equal(await t.at(), 'a')
  await first
  a.leave()
  assert.equal(await t.at(), 'b')
  await second
  await b.alone()
  b.leave()
  assert.equal(await t.at(), '')
})
