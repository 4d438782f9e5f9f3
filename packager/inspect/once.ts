import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Signature } from '../../src/manifest.ts'
import type { Tensors } from '../../src/types.ts'
import type { Reporter } from '../cli/reporter.ts'
import { importSource } from '../import.ts'
import { WeightsFile } from '../onnx/weightsfile.ts'
import { writeModel } from '../onnx/write.ts'
import { optimise } from '../optimise.ts'
import { defaultSignature } from '../signatures.ts'
import { version } from '../version.ts'

export interface Choice {
  readonly tags?: readonly string[]
  /** default: the one that requests mean that name none */
  readonly signature?: string
}

export interface Answer {
  readonly signature: Signature
  readonly outputs: Tensors
}

/**
 * One signature of a model, imported, optimised and run once as a packaged one is.
 * @throws {AppError} UNKNOWN_SIGNATURE, UNSUPPORTED_OPS and what a session throws
 */
export async function runOnce(
  path: string,
  choice: Choice,
  feeds: (signature: Signature) => Tensors,
  io: Reporter,
): Promise<Answer> {
  const { silenceTelemetry } = await import('../../src/boot.ts')
  silenceTelemetry()
  const { createSession } = await import('../../src/session.ts')
  const dir = mkdtempSync(join(tmpdir(), 'modelayer-run-'))
  try {
    const imported = await io.step('Import', async () => {
      const source = await importSource(path, choice.tags && { tags: choice.tags })
      return source.import(choice.signature ?? defaultSignature(source.signatures))
    })
    const signature = { ...imported.signature, graph: 'model.onnx' }
    const given = feeds(signature)
    const session = await io.step('Optimise', async () => {
      const made = join(dir, 'made', 'model.onnx')
      mkdirSync(join(dir, 'made'))
      if (imported.kind === 'graph') writeModel(made, imported.graph, version())
      const weights = new WeightsFile(dir)
      const { ops } = await optimise(
        imported.kind === 'graph' ? made : imported.path,
        join(dir, signature.graph),
        weights,
      )
      weights.close()
      const zeroBatch = ops.has('Resize') ? ('skip' as const) : undefined
      return createSession(dir, signature, { level: 'disabled', zeroBatch })
    })
    try {
      return { signature, outputs: await io.step('Run', () => session.run(given)) }
    } finally {
      await session.close()
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
