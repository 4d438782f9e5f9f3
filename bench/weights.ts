// node --import tsx bench/weights.ts — what weights in fewer bits cost and save: loading, a request, memory, and the distance from the
// float64 answer. The kinds that modelayer offers, and two it does not: made float32 by each request, and activations quantised too.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { table } from '../packager/cli/table.ts'
import { type OnnxGraphTensors, type OnnxTensor, takeInside } from '../packager/formats/onnxdata.ts'
import { decode, encode } from '../packager/formats/protobuf.ts'
import { WEIGHTS, WeightsFile } from '../packager/onnx/weightsfile.ts'
import { openModel as openPackage } from '../packager/package/open.ts'
import type { NodeProto } from '../packager/shrink/kinds.ts'
import { shrinkStaged } from '../packager/shrink/shrink.ts'
import { stagePackage } from '../packager/stage.ts'
import type { Manifest } from '../src/manifest.ts'
import { openModel } from '../src/models.ts'
import { tensor } from '../src/tensor.ts'
import { apply, type Mlp, rowOf, weightsOf, writeMlp } from '../test/fixtures/budget/mlp.ts'

const MODEL: Mlp = { width: 3500, layers: 3 }
const RUNS = 15
process.env.ORT_DISABLE_TELEMETRY = '1'

const [dir] = process.argv.slice(2)
if (dir !== undefined) console.log(JSON.stringify(await measure(dir)))
else await compare()

async function compare(): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'modelayer-weights-'))
  try {
    const weights = weightsOf(MODEL)
    writeMlp(join(work, 'model.onnx'), MODEL, weights)
    writeFileSync(join(work, 'expected.json'), JSON.stringify(apply(weights, rowOf(MODEL.width))))
    const staged = await stagePackage(await openPackage(join(work, 'model.onnx')), join(work, 'staged'))
    const variant = (name: string, change: (home: string) => void) => {
      const home = join(work, name)
      cpSync(staged.dir, home, { recursive: true })
      change(home)
      return [name, home] as const
    }
    const perRequest = (kind: 'float16' | 'int8') => (home: string) => {
      const manifest = shrinkStaged(home, kind)
      write(home, { ...manifest, session: { ...manifest.session, level: 'disabled' } })
    }
    const all = [
      variant('float32', () => undefined),
      variant('float16', (home) => void shrinkStaged(home, 'float16')),
      variant('int8', (home) => void shrinkStaged(home, 'int8')),
      variant('float16 in each request', perRequest('float16')),
      variant('int8 in each request', perRequest('int8')),
      variant('int8, activations too', (home) => quantiseAll(home, shrinkStaged(home, 'int8'))),
    ]
    const rows = all.map(([name, home]) => {
      const { stdout } = spawnSync(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), home], {
        encoding: 'utf8',
      })
      const m = JSON.parse(stdout) as Awaited<ReturnType<typeof measure>>
      const mb = (n: number) => `${(n / 1e6).toFixed(0)} MB`
      return [
        name,
        mb(m.file),
        `${m.load.toFixed(0)} ms`,
        `${m.run.toFixed(1)} ms`,
        m.off.toExponential(1),
        mb(m.memory),
      ]
    })
    console.log(table(['weights', 'file', 'load', 'a request', 'error of the largest output', 'memory'], rows))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** In a process of its own, whose memory is the model's. */
async function measure(home: string) {
  const start = performance.now()
  const session = await openModel(home).session()
  const load = performance.now() - start
  const x = tensor('float32', [1, MODEL.width], Float32Array.from(rowOf(MODEL.width)))
  const times: number[] = []
  let y: ArrayLike<number> = []
  for (let i = 0; i < RUNS; i++) {
    const begin = performance.now()
    y = (await session.run({ x })).y!.data as Float32Array
    times.push(performance.now() - begin)
  }
  const expected = JSON.parse(readFileSync(join(home, '..', 'expected.json'), 'utf8')) as number[]
  const largest = Math.max(...expected.map(Math.abs))
  const [, kB] = /^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return {
    file: statSync(join(home, WEIGHTS)).size,
    load,
    run: times.sort((a, b) => a - b)[RUNS >> 1]!,
    off: Math.max(...expected.map((v, i) => Math.abs(v - y[i]!))) / largest,
    memory: Number(kB) * 1024,
  }
}

function write(home: string, manifest: Manifest): void {
  writeFileSync(join(home, 'manifest.json'), JSON.stringify(manifest))
}

/** MatMul → DynamicQuantizeLinear and MatMulInteger over the weights that shrinkStaged left. */
function quantiseAll(home: string, manifest: Manifest): void {
  const file = manifest.signatures[manifest.defaultSignature]!.graph
  const model = decode<{ graph: OnnxGraphTensors & { initializer: OnnxTensor[] } }>(
    'onnx.ModelProto',
    readFileSync(join(home, file)),
    file,
  )
  const { graph } = model
  takeInside(graph, home, file)
  for (const t of graph.initializer) if (t.name.endsWith(':scale')) t.dims = [MODEL.width]
  const float = [{ name: 'to', type: 2, i: 1 }]
  const node = (op_type: string, input: string[], output: string[], attribute: object[] = []): NodeProto => ({
    op_type,
    name: output[0]!,
    input,
    output,
    attribute,
  })
  const products = (graph.node as NodeProto[]).filter((n) => n.op_type === 'MatMul')
  graph.node = products.flatMap(({ name, input: [x, w], output }) => [
    node('DynamicQuantizeLinear', [x!], [`${name}:x`, `${name}:step`, `${name}:zero`]),
    node('MatMulInteger', [`${name}:x`, `${w}:int8`, `${name}:zero`], [`${name}:sum`]),
    node('Cast', [`${name}:sum`], [`${name}:float`], float),
    node('Mul', [`${name}:step`, `${w}:scale`], [`${name}:scales`]),
    node('Mul', [`${name}:float`, `${name}:scales`], [...output]),
  ]) as OnnxGraphTensors['node']
  const weights = new WeightsFile(home)
  weights.take(graph.initializer)
  weights.close()
  writeFileSync(join(home, file), encode('onnx.ModelProto', model))
  write(home, { ...manifest, session: { ...manifest.session, level: 'disabled' } })
}
