/** `npm run demo`: examples/mnist from a TensorFlow SavedModel to answered requests, out of the built zips, compared with TensorFlow. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Reporter, terminalReporter } from '../packager/cli/reporter.ts'
import { seconds, table } from '../packager/cli/table.ts'
import { budgetTable } from '../packager/layers/budget.ts'
import type { Arch } from '../packager/layers/definition.ts'
import { INDEX, layersFor } from '../packager/layers/dist.ts'
import { pack } from '../packager/layers/pack.ts'
import { openPackage } from '../packager/package/open.ts'
import { projectRoot } from '../packager/root.ts'
import { httpEvent } from '../packager/sandbox/events.ts'
import { Sandbox } from '../packager/sandbox/sandbox.ts'
import { encodeRequest } from '../packager/verify/request.ts'
import { silenceTelemetry } from '../src/boot.ts'

interface Answer {
  readonly predicted_label: string
  readonly scores: readonly (readonly [string, string])[]
}

silenceTelemetry()
const example = join(projectRoot(), 'examples', 'mnist')
const out = join(projectRoot(), 'dist', 'demo')
const io = terminalReporter({
  json: false,
  quiet: false,
  debug: false,
  out: process.stdout,
  err: process.stderr,
  color: process.stderr.isTTY === true && !process.env.NO_COLOR,
})
const say = (text: string) => void process.stdout.write(`${text}\n`)
try {
  process.exitCode = await demo(io)
} catch (e) {
  io.error(e)
  process.exitCode = 1
}

async function demo(io: Reporter): Promise<number> {
  const start = performance.now()
  const pkg = await io.step('Validate examples/mnist', async (progress) => {
    const pkg = await openPackage(example)
    progress(`config.json, ${pkg.model.kind}, ${pkg.findings.length} findings`)
    return pkg
  })
  mkdirSync(out, { recursive: true })
  const { index, budgets } = await pack([pkg], { out, reporter: io })
  say(`\n${budgetTable(budgets)}\n`)

  const arch: Arch = index.arch.includes(process.arch as Arch) && process.arch === 'arm64' ? 'arm64' : 'x64'
  const sandbox = await io.step(`Boot the ${arch} zips`, async (progress) => {
    const fn = index.functions.find((f) => f.name === 'predict')!
    const box = await Sandbox.start({
      layers: layersFor(index, arch).map((l) => join(out, l.file)),
      function: join(out, fn.file),
      handler: fn.handler,
      arch,
    })
    progress(`init ${seconds(box.init.ms)}`)
    return box
  })
  for (const limit of sandbox.limits) io.note(`sandbox: ${limit}`)
  try {
    const wrong = await postDigits(sandbox)
    say(`\n${INDEX} and the zips are in dist/demo. ${seconds(performance.now() - start)} in all.`)
    return wrong === 0 ? 0 : 1
  } finally {
    await sandbox.close()
  }
}

/** Every digit twice: the first answer of the process is the cold one. The number of answers that are not TensorFlow's. */
async function postDigits(sandbox: Sandbox): Promise<number> {
  const read = (file: string) => JSON.parse(readFileSync(join(example, file), 'utf8'))
  const expected = read('expected.json') as Record<string, Answer>
  const labels = read('digits/labels.json') as Record<string, string>
  const rows: (string | number)[][] = []
  const warm: number[] = []
  let cold: number | undefined
  let wrong = 0
  for (const [file, answer] of Object.entries(expected)) {
    const event = httpEvent(
      encodeRequest({ multipart: { images: { file } } }, (f) => readFileSync(join(example, 'digits', f))),
    )
    const first = await sandbox.invoke(event)
    const second = await sandbox.invoke(event)
    if (cold === undefined) cold = sandbox.init.ms + first.ms
    warm.push(second.ms)
    const got = body(first.response)
    const same = [first, second].every((r) => equal(body(r.response), answer))
    if (!same) wrong++
    const scores = got?.scores.slice(0, 3).map(([label, p]) => `${label}: ${p}`)
    rows.push([
      file,
      labels[file] ?? '?',
      got?.predicted_label ?? `error ${first.error?.errorMessage ?? ''}`,
      scores?.join('  ') ?? '',
      same ? 'equal' : 'DIFFERS',
    ])
  }
  say(table(['digit', 'true', 'predicted', 'scores', 'TensorFlow'], rows))
  const middle = warm.sort((a, b) => a - b)[Math.floor(warm.length / 2)] ?? 0
  say(
    `\ncold: ${seconds(cold ?? 0)} from process start to the first answer; warm: ${middle.toFixed(1)} ms (median of ${warm.length})`,
  )
  say(
    wrong === 0
      ? `All ${rows.length} answers equal TensorFlow's.`
      : `${wrong} of ${rows.length} answers differ from TensorFlow's.`,
  )
  return wrong
}

function body(response: unknown): Answer | undefined {
  const { statusCode, body, isBase64Encoded } = (response ?? {}) as {
    statusCode?: number
    body?: string
    isBase64Encoded?: boolean
  }
  if (statusCode !== 200 || body === undefined) return undefined
  return JSON.parse(isBase64Encoded ? Buffer.from(body, 'base64').toString() : body) as Answer
}

/** The label exactly; scores are text with three decimals, of which the last may round the other way. */
function equal(got: Answer | undefined, want: Answer): boolean {
  if (got?.predicted_label !== want.predicted_label || got.scores.length !== want.scores.length) return false
  return want.scores.every(([label, p]) => {
    const mine = got.scores.find(([l]) => l === label)
    return mine ? Math.abs(Number(mine[1]) - Number(p)) < 0.0011 : Number(p) < 0.0011
  })
}
