import { stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { build } from 'esbuild'
import { AppError } from '../../src/errors.ts'
import { projectRoot } from '../root.ts'
import { natives } from './natives.ts'

export interface FunctionBundle {
  readonly path: string
  readonly bytes: number
  /** every module inside, relative to the project: what the tests of reachability read */
  readonly inputs: readonly string[]
}

/** What must not be on a function's path: the SDK costs more than loading a small model (30 to 70 ms of a cold start). */
const KEPT_OUT = [/node_modules[\\/]@aws-sdk[\\/]/, /node_modules[\\/]@smithy[\\/]/, /^packager[\\/]/] as const

/**
 * One CommonJS file per function: an ES module entry costs 1.5 to 2 ms more. A dynamic import stays lazy inside the bundle, so sharp
 * is evaluated by the first image only. `mainFields` prefers ES modules, whose unused parts fall away.
 */
export async function bundleFunction(entry: string, outfile: string): Promise<FunctionBundle> {
  const root = projectRoot()
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    mainFields: ['module', 'main'],
    minify: true,
    // names in stack traces are worth their 2 %
    keepNames: true,
    legalComments: 'none',
    plugins: [natives],
    metafile: true,
    logLevel: 'silent',
  }).catch((e: unknown) => {
    throw new AppError('BAD_ARTIFACT', { where: relative(root, entry), got: String(e), cause: e })
  })
  const inputs = Object.keys(metafile.inputs)
  const wrong = inputs.find((i) => KEPT_OUT.some((k) => k.test(i)))
  if (wrong)
    throw new AppError('BAD_ARTIFACT', {
      where: relative(root, entry),
      expected: 'a bundle without the AWS SDK and the packager',
      got: wrong,
    })
  return { path: outfile, bytes: (await stat(outfile)).size, inputs }
}

/** The source of a function, in the clone or the installed package. */
export const functionEntry = (name: string): string => join(projectRoot(), 'functions', `${name}.ts`)
