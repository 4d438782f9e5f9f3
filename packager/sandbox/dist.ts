import { join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { Arch } from '../layers/definition.ts'
import { type DistIndex, INDEX, layersFor } from '../layers/dist.ts'
import { imageOptions } from './image.ts'
import type { SandboxOptions } from './sandbox.ts'

/** What the sandbox boots for one function of a built package. @throws {AppError} BAD_ARTIFACT */
export function bootOptions(dir: string, index: DistIndex, arch: Arch, name = 'predict'): SandboxOptions {
  const fn = index.functions.find((f) => f.name === name)
  if (!fn)
    throw new AppError('BAD_ARTIFACT', {
      where: join(dir, INDEX),
      expected: `a function ${name}`,
      got: index.functions.map((f) => f.name).join(', ') || 'none',
    })
  const image = index.images?.[arch]
  if (image !== undefined) return { ...imageOptions(join(dir, image), name), functionName: fn.name, arch }
  return {
    tmp: index.plan.tmp,
    layers: layersFor(index, arch).map((l) => join(dir, l.file)),
    function: join(dir, fn.file),
    functionName: fn.name,
    handler: fn.handler,
    arch,
  }
}
