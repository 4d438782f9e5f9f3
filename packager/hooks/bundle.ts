import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { BuildFailure, Message, OutputFile } from 'esbuild'
import { AppError } from '../../src/errors.ts'
import { npmSpecs } from '../package/dependencies.ts'
import type { HookSource } from '../package/types.ts'
import { installNpm } from './npm.ts'
import { fromModules, portable } from './portable.ts'

export interface HookBundle {
  readonly bytes: number
  readonly warnings: readonly string[]
}

/**
 * customize_service and everything it imports, as one CommonJS file; `modelayer` itself stays a require, so that hooks and
 * runtime share one base class. The same package gives the same bytes on every machine: no path outside the package
 * reaches the file, and no tsconfig.json of a folder above has a say.
 */
export async function bundleHooks(pkg: HookSource, outFile: string): Promise<HookBundle> {
  const { hooksFile, modelDir } = pkg
  if (!hooksFile) throw new AppError('BAD_HOOKS', { where: modelDir, expected: 'customize_service.ts', got: 'nothing' })
  const nodePaths = await installNpm(npmSpecs(pkg.config), modelDir)
  const { build } = await import('esbuild')
  const { outputFiles, warnings } = await build({
    absWorkingDir: modelDir,
    entryPoints: [hooksFile],
    // never written there: sources in the map are named relative to it
    outfile: join(modelDir, basename(outFile)),
    write: false,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    external: ['modelayer'],
    nodePaths,
    sourcemap: 'external',
    sourcesContent: false,
    legalComments: 'none',
    tsconfigRaw: {},
    charset: 'utf8',
    logLevel: 'silent',
  }).catch((e: unknown) => {
    throw isBuildFailure(e) ? refusal(e, hooksFile) : e
  })
  const find = (ending: string) => outputFiles.find((f: OutputFile) => f.path.endsWith(ending))!.text
  const { code, map } = portable(find(basename(outFile)), find('.map'))
  const text = `${code}//# sourceMappingURL=data:application/json;base64,${Buffer.from(map).toString('base64')}\n`
  mkdirSync(dirname(outFile), { recursive: true })
  writeFileSync(outFile, text)
  return { bytes: Buffer.byteLength(text), warnings: warnings.map(say) }
}

function refusal(failure: BuildFailure, hooksFile: string): AppError {
  const missing = failure.errors.some((e) => e.text.startsWith('Could not resolve'))
  const native = failure.errors.some((e) => e.text.includes('".node" files'))
  const fix = missing
    ? 'List npm packages in config.json under dependencies with the installer npm, or install them in the folder of the package.'
    : native
      ? 'Native modules cannot be bundled; for images there is image(file).'
      : undefined
  return new AppError('BAD_HOOKS', { where: hooksFile, got: failure.errors.map(say).join('\n  '), fix, cause: failure })
}

function say({ text, location }: Message): string {
  return location ? `${fromModules(location.file)}:${location.line}:${location.column + 1} ${text}` : text
}

const isBuildFailure = (e: unknown): e is BuildFailure => e instanceof Error && 'errors' in e && Array.isArray(e.errors)
