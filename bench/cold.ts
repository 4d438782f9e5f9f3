// npm run bench:cold — from the start of node in the sandbox to the answer of the first multipart request, for our zips, for the
// barest script that could answer it, and for the handler everybody writes. Interleaved, so that all see the same machine.
import { readFileSync } from 'node:fs'
import { arch as hostArch } from 'node:os'
import { join } from 'node:path'
import { table } from '../packager/cli/table.ts'
import type { Arch } from '../packager/layers/definition.ts'
import { projectRoot } from '../packager/root.ts'
import { httpEvent } from '../packager/sandbox/events.ts'
import { Sandbox } from '../packager/sandbox/sandbox.ts'
import { encodeRequest } from '../packager/verify/request.ts'
import { type Contestant, contestants } from './cold/contestants.ts'

const ROUNDS = 15
const WARM = 30
/** Of the medians of the cold starts. */
const GOALS = { floor: { atMost: 1.3 }, naive: { atLeast: 2.5 } } as const

interface Sample {
  readonly init: number
  readonly first: number
  readonly warm: number
  readonly body: string
}

const example = join(projectRoot(), 'examples', 'mnist')
const event = httpEvent(
  encodeRequest({ multipart: { images: { file: '7.png' } } }, (f) => readFileSync(join(example, 'digits', f))),
)
const all = await contestants(example, hostArch() as Arch)
const samples = new Map<string, Sample[]>(all.map((c) => [c.name, []]))
// the first round fills the page cache and the sandbox's folders
for (const c of all) await sample(c)
// everyone comes after everyone: what ends before a start, and how much it leaves to clean up, is part of the noise
for (let round = 0; round < ROUNDS; round++)
  for (let i = 0; i < all.length; i++) {
    const c = all[(round + i) % all.length]!
    samples.get(c.name)!.push(await sample(c))
  }

const answers = new Set([...samples.values()].flat().map((s) => s.body))
if (answers.size !== 1) throw new Error(`The contestants answer differently: ${[...answers].join(' | ')}`)

const rows = all.map((c) => {
  const mine = samples.get(c.name)!
  const total = mine.map((s) => s.init + s.first)
  return {
    name: c.name,
    about: c.about,
    cold: median(total),
    fastest: Math.min(...total),
    init: median(mine.map((s) => s.init)),
    first: median(mine.map((s) => s.first)),
    warm: median(mine.map((s) => s.warm)),
  }
})
const cold = (name: string) => rows.find((r) => r.name === name)!.cold
const ratios = { floor: cold('modelayer') / cold('floor'), naive: cold('naive') / cold('modelayer') }
const met = ratios.floor <= GOALS.floor.atMost && ratios.naive >= GOALS.naive.atLeast

if (process.argv.includes('--json'))
  console.log(JSON.stringify({ rounds: ROUNDS, rows, ratios, goals: GOALS, met }, null, 2))
else {
  const ms = (n: number) => `${n.toFixed(1)} ms`
  console.log(
    table(
      ['', 'cold', 'fastest', 'init', 'first request', 'warm', ''],
      rows.map((r) => [r.name, ms(r.cold), ms(r.fastest), ms(r.init), ms(r.first), ms(r.warm), r.about]),
    ),
  )
  console.log(`\n${answers.values().next().value}`)
  console.log(`modelayer / floor: ${ratios.floor.toFixed(2)} (goal: at most ${GOALS.floor.atMost})`)
  console.log(`naive / modelayer: ${ratios.naive.toFixed(2)} (goal: at least ${GOALS.naive.atLeast})`)
}
process.exitCode = met ? 0 : 1

async function sample(c: Contestant): Promise<Sample> {
  const sandbox = await Sandbox.start(c.options)
  try {
    const first = await sandbox.invoke(event)
    const { statusCode, body } = (first.response ?? {}) as { statusCode?: number; body?: string }
    if (statusCode !== 200 || sandbox.init.error) {
      const why = JSON.stringify(sandbox.init.error ?? first.error ?? first.response)
      throw new Error(`${c.name} does not answer: ${why}\n${sandbox.init.log}${first.log}`)
    }
    const warm: number[] = []
    for (let i = 0; i < WARM; i++) warm.push((await sandbox.invoke(event)).ms)
    return { init: sandbox.init.ms, first: first.ms, warm: median(warm), body: body! }
  } finally {
    await sandbox.close()
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}
