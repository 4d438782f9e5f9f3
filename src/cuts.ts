import { bytesToString, textOf } from './bytestring.ts'
import { AppError } from './errors.ts'
import type { CutSpec, Signature } from './manifest.ts'
import type { Tensor } from './tensor.ts'

/** Computes the outputs of one cut, in the order of its spec. */
export type CutRun = (inputs: readonly Tensor[]) => readonly Tensor[] | Promise<readonly Tensor[]>

export interface CutRow {
  /** its strings are bytes, one character each, those it reads and those it gives; otherwise text */
  readonly bytes: boolean
  /** prepared once for a session; loaded only for models that have such a cut */
  prepare(cut: CutSpec): Promise<CutRun>
}

/** What the runtime can compute in the place of TensorFlow operators. One row per kind; the packager's rows name the kind. */
export const CUTS: Readonly<Record<string, CutRow>> = {
  parseExample: {
    bytes: true,
    prepare: async (cut) => (await import('./tfexample/cut.ts')).parseExampleCut(cut),
  },
  parseSequenceExample: {
    bytes: true,
    prepare: async (cut) => (await import('./tfexample/cut.ts')).parseSequenceCut(cut),
  },
  strings: {
    bytes: false,
    prepare: async (cut) => (await import('./strings.ts')).stringCut(cut),
  },
  decodeImage: {
    bytes: true,
    prepare: async (cut) => (await import('./image/cut.ts')).decodeImageCut(cut),
  },
}

/** Tensors by their name in the graph. */
export interface Pool {
  set(name: string, t: Tensor, bytes?: boolean): void
  has(name: string): boolean
  /** strings as text, unless bytes are asked for */
  get(name: string, bytes?: boolean): Tensor
}

export function createPool(): Pool {
  const values = new Map<string, { t: Tensor; bytes: boolean }>()
  return {
    set: (name, t, bytes = false) => void values.set(name, { t, bytes }),
    has: (name) => values.has(name),
    get(name, wanted = false) {
      const { t, bytes } = values.get(name)!
      if (bytes === wanted || !Array.isArray(t.data)) return t
      const convert = wanted
        ? (s: string) => bytesToString(Buffer.from(s, 'utf8'))
        : (s: string) => textOf(Buffer.from(s, 'latin1'))
      return { ...t, data: t.data.map(convert) }
    },
  }
}

/** All cuts of a signature as one step that adds their outputs to the pool. @throws {AppError} LOAD_FAILED for a kind without a row */
export async function openCuts(signature: Signature): Promise<(pool: Pool) => Promise<void>> {
  const steps = await Promise.all(
    (signature.cuts ?? []).map(async (cut) => {
      if (!Object.hasOwn(CUTS, cut.kind))
        throw new AppError('LOAD_FAILED', {
          where: `cut ${cut.kind}`,
          expected: Object.keys(CUTS).join(', '),
          got: cut.kind,
          fix: 'Package the model with the version that runs it.',
        })
      const row = CUTS[cut.kind]!
      return { cut, bytes: row.bytes, run: await row.prepare(cut) }
    }),
  )
  return async (pool) => {
    for (const { cut, bytes, run } of steps) {
      const outputs = await run(cut.inputs.map((name) => pool.get(name, bytes)))
      for (const [i, o] of cut.outputs.entries()) pool.set(o.name, outputs[i]!, bytes)
    }
  }
}
