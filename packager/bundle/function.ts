import { copyFile, stat } from 'node:fs/promises'
import { basename, join, relative, resolve } from 'node:path'
import { type BuildOptions, build } from 'esbuild'
import { AppError } from '../../src/errors.ts'
import { projectRoot } from '../root.ts'
import { APART, importedLater, LATER_ENTRY, LATER_FILE, later } from './later.ts'
import { natives, SHARP_FILE } from './natives.ts'

export interface FunctionBundle {
  /** the files of the function, by name */
  readonly files: readonly { readonly name: string; readonly path: string; readonly bytes: number }[]
  /** every module inside, relative to the project, but for the files of {@link APART}: what the tests of reachability read */
  readonly inputs: readonly string[]
}

/** Handler of functions whose init waits for a model to be fetched. */
const PREPARED_FILE = 'prepared.mjs'
const PACKAGER = /^packager[\\/](?!bundle[\\/]onnxruntime\.ts$)/
const SDK = [/node_modules[\\/]@aws-sdk[\\/]/, /node_modules[\\/]@smithy[\\/]/] as const

/**
 * What must not be on a function's path: the SDK costs more than loading a small model (30 to 70 ms of a cold start). A batch reads S3,
 * the check of golden requests invokes Lambda, and nobody waits for the first answer of either. What has a file of its own is
 * loaded by those who need it; of the SDK, what fetches models needs the signer.
 */
const KEPT_OUT: Readonly<Record<string, readonly RegExp[]>> = {
  batch: [PACKAGER],
  golden: [PACKAGER],
  ...Object.fromEntries(Object.keys(APART).map((file) => [file, [PACKAGER]])),
  'fetch.js': [PACKAGER, SDK[0]],
  '': [PACKAGER, ...SDK],
}

/**
 * CommonJS, because an ES module entry costs 1.5 to 2 ms more. A dynamic import stays lazy: it becomes a `require` when it is
 * reached, not Node's loader of ES modules. `mainFields` prefers ES modules, whose unused parts fall away.
 */
export async function bundleFunction(name: string, entry: string, outdir: string): Promise<FunctionBundle> {
  const root = projectRoot()
  const common = {
    absWorkingDir: root,
    outdir,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    supported: { 'dynamic-import': false },
    mainFields: ['module', 'main'],
    minify: true,
    // the licence notices of what is inside, beside it
    legalComments: 'external',
    metafile: true,
    logLevel: 'silent',
  } as const satisfies BuildOptions
  const fail = (e: unknown) => {
    throw new AppError('BAD_ARTIFACT', { where: relative(root, entry), got: String(e), cause: e })
  }
  const threads: Record<string, string> = name === 'batch' ? { thread: functionEntry('thread') } : {}
  const entryPoints = { [name]: entry, ...threads, [SHARP_FILE.replace('.js', '')]: 'sharp' }
  // nobody waits for the first answer
  const whole = name === 'batch' || name === 'golden'
  const first = whole
    ? undefined
    : await build({ ...common, entryPoints, plugins: [natives], write: false }).catch(fail)
  const found = first ? importedLater(first.metafile, root) : []
  const apart = Object.entries(APART).filter(([, module]) => found.includes(join(root, module)))
  const modules = found.filter((m) => !apart.some(([, module]) => join(root, module) === m))
  const { metafile } = await build({
    ...common,
    entryPoints: {
      ...entryPoints,
      ...Object.fromEntries(apart.map(([file, module]) => [file.replace('.js', ''), module])),
      ...(modules.length > 0 && { [LATER_FILE.replace('.js', '')]: LATER_ENTRY }),
    },
    plugins: whole ? [natives] : [natives, later(modules, root)],
  }).catch(fail)
  const outputs = Object.entries(metafile.outputs)
  const inputs = outputs.flatMap(([path, o]) => (basename(path) in APART ? [] : Object.keys(o.inputs)))
  const wrong = outputs.flatMap(([path, o]) => {
    const out = KEPT_OUT[name] ?? KEPT_OUT[basename(path)] ?? KEPT_OUT['']!
    return Object.keys(o.inputs).filter((i) => out.some((k) => k.test(i)))
  })[0]
  if (wrong)
    throw new AppError('BAD_ARTIFACT', {
      where: relative(root, entry),
      expected: 'a bundle without the AWS SDK and the packager',
      got: wrong,
    })
  const usesSharp = outputs.some(([, o]) => o.imports.some((i) => i.external && i.path === `./${SHARP_FILE}`))
  const files = outputs
    .map(([path, { bytes }]) => ({ name: basename(path), path: resolve(root, path), bytes }))
    .filter((f) => !f.name.startsWith(SHARP_FILE) || usesSharp)
  if (files.some((f) => f.name === 'fetch.js')) files.push(await prepared(outdir))
  return { files: files.sort((a, b) => (a.name < b.name ? -1 : 1)), inputs }
}

async function prepared(outdir: string) {
  const path = join(outdir, PREPARED_FILE)
  await copyFile(join(projectRoot(), 'functions', PREPARED_FILE), path)
  return { name: PREPARED_FILE, path, bytes: (await stat(path)).size }
}

/** The source of a function, in the clone or the installed package. */
export const functionEntry = (name: string): string => join(projectRoot(), 'functions', `${name}.ts`)
