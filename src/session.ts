import { join } from 'node:path'
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node'
import { now, rounded } from './clock.ts'
import { createPool, openCuts } from './cuts.ts'
import { AppError } from './errors.ts'
import { checkFeeds } from './feeds.ts'
import type { SessionSpec, Signature, TensorSpec } from './manifest.ts'
import { memo } from './memo.ts'
import { nearest } from './nearest.ts'
import { toTensor } from './nested.ts'
import { DTYPES, sizeOf, type Tensor, type TensorData } from './tensor.ts'
import type { Tensors } from './types.ts'

/** A loaded graph that refuses wrong feeds before the native call, which blocks the thread while it runs. */
export interface Session {
  readonly signature: Signature
  /** milliseconds that loading took: onnxruntime (0 where it was there), and the graph */
  readonly ms: { readonly runtime: number; readonly session: number }
  /** @throws {AppError} MISSING_INPUT, UNKNOWN_INPUT, WRONG_DTYPE, WRONG_SHAPE, RUN_FAILED */
  run(feeds: Tensors, wanted?: readonly string[]): Promise<Tensors>
  close(): Promise<void>
}

type Ort = typeof import('onnxruntime-node')

/**
 * The only place that loads onnxruntime, on first use. ORT_DISABLE_TELEMETRY has to be in the environment by then:
 * from 1.29 on it otherwise looks up a host, reads /etc/machine-id and writes to $HOME and /tmp.
 */
const loadOrt = memo(async (): Promise<Ort> => {
  const loaded: Ort & { default?: Ort } = await import('onnxruntime-node')
  const ort = loaded.default ?? loaded
  // warnings of arm64's cpuinfo, and native errors that quote indices; ours say it better
  ort.env.logLevel = 'error'
  keepHalfBits(ort)
  return ort
})

/**
 * Where Node has a Float16Array (24 and later), onnxruntime-common stores float16 in one, and the native binding cannot read it
 * ("not enough space: expected 4, got 0", 1.30.0). It looks for the class once, at the first tensor: so that is made without it.
 */
function keepHalfBits(ort: Ort): void {
  const half = Object.getOwnPropertyDescriptor(globalThis, 'Float16Array')
  if (!half) return
  Reflect.deleteProperty(globalThis, 'Float16Array')
  try {
    new ort.Tensor('bool', Uint8Array.of(1), [1])
  } finally {
    Object.defineProperty(globalThis, 'Float16Array', half)
  }
}

/** One thread up to two vCPUs (1,769 MB each): spinning threads double latency under a CPU quota. */
export function threadsFor(memoryMb: number | undefined): number {
  return memoryMb === undefined || memoryMb < 2 * 1769 ? 1 : Math.floor(memoryMb / 1769)
}

/** Loads by path, so that onnxruntime maps external weights into memory instead of reading them. */
export async function createSession(
  dir: string,
  signature: Signature,
  spec: SessionSpec = { level: 'extended' },
  threads = 1,
): Promise<Session> {
  const begun = now()
  const ort = await loadOrt()
  const loaded = now()
  const session = await ort.InferenceSession.create(join(dir, signature.graph), {
    graphOptimizationLevel: spec.level,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 4,
  }).catch((cause: unknown) => {
    throw new AppError('LOAD_FAILED', { where: signature.graph, cause })
  })
  const forCuts = new Set((signature.cuts ?? []).flatMap((c) => c.inputs))
  checkNames(session, signature, forCuts)
  const cut = signature.cuts && (await openCuts(signature))
  const defaults = Object.entries(signature.inputs).flatMap(([alias, input]) =>
    input.default ? [[alias, defaultOf(alias, input)] as const] : [],
  )

  const all = fetching(Object.keys(signature.outputs), signature)

  return {
    signature,
    ms: { runtime: rounded(loaded - begun), session: rounded(now() - loaded) },
    close: () => session.release(),
    async run(given, wanted) {
      checkFeeds(given, signature)
      const { outputs, fetches } = wanted ? fetching(wanted, signature) : all
      if (spec.zeroBatch === 'skip' && Object.values(given).some((t) => t.shape.includes(0))) {
        const empty = emptyOutputs(outputs)
        if (empty) return empty
      }
      const pool = createPool()
      for (const [alias, t] of defaults) if (!(alias in given)) pool.set(signature.inputs[alias]!.name, t)
      for (const [alias, t] of Object.entries(given)) {
        const { name, bytes } = signature.inputs[alias]!
        if (!session.inputNames.includes(name) && !forCuts.has(name)) throw fixedInput(alias)
        pool.set(name, t, bytes)
      }
      await cut?.(pool)
      const feeds: Record<string, OrtTensor> = {}
      for (const name of session.inputNames) if (pool.has(name)) feeds[name] = toOrt(ort, pool.get(name))
      const answers = await session.run(feeds, fetches, { logSeverityLevel: 4 }).catch((cause: unknown) => {
        throw new AppError('RUN_FAILED', { where: signature.graph, cause })
      })
      return Object.fromEntries(outputs.map(([alias, o]) => [alias, fromOrt(answers[o.name]!, o)]))
    },
  }
}

/** What the graph is asked for. @throws {AppError} UNKNOWN_OUTPUT */
function fetching(wanted: readonly string[], signature: Signature) {
  const outputs = wanted.map((alias) => [alias, outputSpec(alias, signature)] as const)
  return { outputs, fetches: [...new Set(outputs.map(([, o]) => o.name))] }
}

/** The manifest and the graph are made together; this finds files that were mixed. */
function checkNames(session: InferenceSession, signature: Signature, forCuts: ReadonlySet<string>): void {
  const inputs = Object.values(signature.inputs).filter((i) => (!i.optional || i.default) && !forCuts.has(i.name))
  const missing = [
    ...inputs.filter((i) => !session.inputNames.includes(i.name)),
    ...Object.values(signature.outputs).filter((o) => !session.outputNames.includes(o.name)),
  ].map((t) => t.name)
  if (missing.length > 0)
    throw new AppError('LOAD_FAILED', {
      where: signature.graph,
      expected: `tensors ${missing.join(', ')}`,
      got: `${session.inputNames} → ${session.outputNames}`,
      fix: 'Manifest and graph do not belong together: package the model again.',
    })
}

/** onnxruntime-node silently ignores a feed for an initializer, and would answer as if it had not been sent. */
function fixedInput(alias: string): AppError {
  const fix = 'Import the model again, so that the manifest carries the default and the graph takes the input.'
  return new AppError('LOAD_FAILED', {
    where: `input ${alias}`,
    expected: 'an input',
    got: 'a constant of the graph',
    fix,
  })
}

/** The value that stands in for an optional input. */
export function defaultOf(alias: string, input: TensorSpec): Tensor {
  const { shape, values } = input.default!
  const exact = input.dtype === 'int64' || input.dtype === 'uint64' ? values.map((v) => BigInt(v)) : values
  const { data } = toTensor(`default of ${alias}`, exact, input.dtype, null)
  return { dtype: input.dtype, shape, data }
}

function outputSpec(alias: string, signature: Signature): TensorSpec {
  if (Object.hasOwn(signature.outputs, alias)) return signature.outputs[alias]!
  const known = Object.keys(signature.outputs)
  const meant = nearest(alias, known)
  throw new AppError('UNKNOWN_OUTPUT', {
    expected: known.join(', '),
    got: alias.slice(0, 80),
    fix: meant && `Did you mean ${meant}?`,
  })
}

function emptyOutputs(outputs: readonly (readonly [string, TensorSpec])[]): Tensors | undefined {
  const empty: Tensors = {}
  for (const [alias, { dtype, shape }] of outputs) {
    const rest = shape?.slice(1)
    if (!shape?.length || !rest?.every((d) => d !== null)) return undefined
    const data = dtype === 'string' ? [] : new DTYPES[dtype].array(0)
    empty[alias] = { dtype, shape: [0, ...rest], data }
  }
  return empty
}

function toOrt(ort: Ort, t: Tensor): OrtTensor {
  if (t.dtype === 'bfloat16')
    throw new AppError('WRONG_DTYPE', { expected: 'a dtype that onnxruntime-node carries', got: t.dtype })
  // the binding passes C strings, which end there
  if (Array.isArray(t.data) && t.data.some((text) => text.includes('\0')))
    throw new AppError('WRONG_DTYPE', { expected: 'strings without NUL', got: 'one with' })
  return new ort.Tensor(t.dtype as 'float32', t.data as Float32Array, t.shape)
}

function fromOrt(t: OrtTensor, spec: TensorSpec): Tensor {
  const data = t.data as TensorData
  if (data.length !== sizeOf(t.dims) || !(data instanceof DTYPES[spec.dtype].array))
    throw new AppError('RUN_FAILED', { where: spec.name, expected: spec.dtype, got: t.type })
  return { dtype: spec.dtype, shape: t.dims, data }
}
