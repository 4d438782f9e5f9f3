// How a batch grows from a thousand objects to a hundred million, simulated: node --import tsx bench/scale.ts [docs/scaling.svg]
import { writeFileSync } from 'node:fs'
import { plan, type Setting, type Work } from '../packager/batch/plan.ts'
import { pricesOf } from '../packager/batch/prices.ts'
import { ASSUMED, QUOTAS } from '../packager/batch/quotas.ts'
import { clock } from '../packager/cli/dryrun.ts'
import { table } from '../packager/cli/table.ts'
import { randomOf } from '../test/fixtures/batch/faulty.ts'
import { chart } from './scale/chart.ts'
import { type Outcome, simulate } from './scale/simulate.ts'

const SIZES = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8]
const { prices } = pricesOf('us-east-1')

/** What goes wrong: a process in a thousand invocations, an object in ten thousand, one in a million always; a message in a thousand comes twice. */
const TROUBLE = { crash: 1e-3, error: 1e-4, poison: 1e-6, double: 1e-3 }
/** Of the account's thousand, others use so many: less is left than the map was planned with. */
const OTHERS = 150

/** examples/mnist, a digit of 28 × 28 as PNG: as `modelayer batch … --dry-run` measures it. */
const DIGIT = { bytes: 253, msPerObject: 4.2, reads: 2, writes: 2 }

const WAYS = {
  'Distributed Map, 1 prefix': { way: 'map', prefixes: 1 },
  'Distributed Map, 100 prefixes': { way: 'map', prefixes: 100 },
  'S3 → SQS, 100 prefixes': { way: 'queue', prefixes: 100 },
} as const

const { bytes, msPerObject, reads, writes } = DIGIT
const rate = { busyPerByte: msPerObject / bytes, earlier: false, reads, writes, objects: 1000, failed: 0 }
const setting = (prefixes: number): Setting => ({
  ...{ memory: ASSUMED.vcpuMemory, arch: 'arm64', timeout: QUOTAS.lambda.seconds, keyBytes: 40, prefixes, prices },
  concurrency: QUOTAS.lambda.concurrency,
})

const seconds: Record<string, number[]> = {}
function note(line: string, s: number): void {
  seconds[line] = [...(seconds[line] ?? []), s]
}

for (const [name, { way, prefixes }] of Object.entries(WAYS)) {
  const rows = SIZES.map((objects) => {
    const work: Work = { objects, bytes: objects * bytes, largest: bytes, single: true, rate }
    const planned = plan([work], setting(prefixes))
    const map = way === 'map'
    const start = performance.now()
    const o = simulate({
      way,
      objects,
      secondsPerObject: planned.secondsPerBatch / planned.items,
      ...{ reads, writes, prefixes },
      items: map ? planned.items : QUOTAS.sqs.batch,
      concurrency: map ? planned.concurrency : QUOTAS.sqs.concurrency,
      room: QUOTAS.lambda.concurrency - OTHERS,
      cold: ASSUMED.coldMs / 1000,
      trouble: TROUBLE,
      random: randomOf(1),
    })
    note(map ? name : `${name}: 99 of 100`, map ? o.seconds : o.mostSeconds)
    // what fails comes back from a queue later
    if (!map) note(`${name}: the last object`, o.seconds)
    return [
      objects,
      map ? clock(planned.wallSeconds) : '',
      clock(o.mostSeconds),
      clock(o.seconds),
      Math.round(objects / o.seconds),
      o.peak,
      o.meanHeld.toFixed(0),
      ...[o.invocations, o.retries, o.throttled, o.slowdowns, o.doubles, o.named, o.lost],
      `$${costOf(o, objects, map).toFixed(2)}`,
      `${((performance.now() - start) / 1000).toFixed(1)} s`,
    ]
  })
  const counted = ['invocations', 'retries', '429', '503', 'doubles', 'named', 'lost']
  console.log(`\n${name}\n`)
  console.log(
    table(['objects', 'planned', '99 %', 'all', 'objects/s', 'peak', 'mean', ...counted, 'cost', 'simulated in'], rows),
  )
}

const [file] = process.argv.slice(2)
if (file) writeFileSync(file, chart('Time by number of objects', SIZES, seconds))

function costOf({ lambdaSeconds, invocations, slowdowns }: Outcome, objects: number, map: boolean): number {
  const gigabytes = ASSUMED.vcpuMemory / 1024
  const lambda = lambdaSeconds * gigabytes * prices.lambda.arm64 + invocations * prices.lambdaRequest
  const s3 = objects * (reads * prices.s3Read + writes * prices.s3Write) + slowdowns * prices.s3Write
  // a child enters four states; a message is sent, then received, hidden and deleted with nine others
  const way = map ? invocations * 4 * prices.transition : objects * 1.3 * prices.sqsRequest
  return lambda + s3 + way
}
