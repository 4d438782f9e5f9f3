import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { isAppError } from '../src/errors.ts'
import type { Manifest, Signature } from '../src/manifest.ts'
import { type Reporter, silent } from './cli/reporter.ts'
import { bytes as sized } from './cli/table.ts'
import { buildHooks } from './hooks/check.ts'
import { type Imported, importSource } from './import.ts'
import { countNodes } from './normalise/index.ts'
import { WEIGHTS, WeightsFile } from './onnx/weightsfile.ts'
import { writeModel } from './onnx/write.ts'
import { optimise } from './optimise.ts'
import type { ModelPackage } from './package/open.ts'
import { defaultSignature } from './signatures.ts'
import { version } from './version.ts'

export interface Staged {
  /** holds models/NAME/VERSION/ and hooks/; what a model store opens and layers are built from */
  readonly root: string
  /** models/NAME/VERSION */
  readonly dir: string
  readonly manifest: Manifest
}

/**
 * Makes a package ready to run: model imported, optimised and hooks bundled, as `root/models/NAME/VERSION` and `root/hooks`.
 * @throws {AppError} UNSUPPORTED_OPS, BAD_MODEL_FILE, CHECKPOINT_MISMATCH, BAD_HOOKS, LOAD_FAILED
 */
export async function stagePackage(pkg: ModelPackage, root: string, io: Reporter = silent): Promise<Staged> {
  const dir = join(root, 'models', pkg.name, pkg.version)
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir, { recursive: true })
  const scratch = mkdtempSync(join(tmpdir(), 'modelayer-'))
  try {
    const { imported, initOp } = await io.step(`Import ${pkg.name}`, (progress) => importAll(pkg, io, progress))
    const { signatures, ops } = await io.step('Optimise', async (progress) => {
      const weights = new WeightsFile(dir)
      const signatures: Record<string, Signature> = {}
      const ops = new Set<string>()
      let nodes = 0
      for (const [i, [name, one]] of [...imported].entries()) {
        const [graph, source] = [graphFile(name, i), join(scratch, `${i}.onnx`)]
        if (one.kind === 'graph') writeModel(source, one.graph, version())
        const done = await optimise(one.kind === 'graph' ? source : one.path, join(dir, graph), weights)
        for (const op of done.ops) ops.add(op)
        nodes += done.nodes
        signatures[name] = { graph, ...one.signature }
      }
      progress(`${nodes} nodes, weights ${sized(weights.close())}`)
      return { signatures, ops }
    })
    for (const [path, from] of Object.entries(pkg.assets)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true })
      copyFileSync(from, join(dir, path))
    }
    const hooks = pkg.hooksFile === undefined ? undefined : `${pkg.name}@${pkg.version}.js`
    if (hooks)
      await io.step('Bundle hooks', async (progress) =>
        progress(sized((await buildHooks(pkg, join(root, 'hooks', hooks))).bytes)),
      )
    const files = [...Object.values(signatures).map((s) => s.graph), WEIGHTS, ...Object.keys(pkg.assets)].sort()
    const manifest: Manifest = {
      format: 1,
      model: pkg.name,
      version: pkg.version,
      defaultSignature: defaultSignature(Object.keys(signatures)),
      signatures,
      ...(initOp && { initOp }),
      ...(pkg.fields && { fields: pkg.fields }),
      ...(pkg.config?.apis[0] && { requestType: pkg.config.apis[0].request['Content-type'] }),
      ...(hooks && { hooks }),
      files: Object.fromEntries(files.map((f) => [f, sha256(join(dir, f))])),
      session: { level: 'disabled', ...(ops.has('Resize') && { zeroBatch: 'skip' as const }) },
    }
    writeFileSync(join(dir, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`)
    return { root, dir, manifest }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** All signatures; one that cannot be imported is a warning, unless it is the one that requests mean by default. */
async function importAll(
  pkg: ModelPackage,
  io: Reporter,
  progress: (text: string) => void,
): Promise<{ imported: Map<string, Imported>; initOp: string | undefined }> {
  const source = await importSource(pkg.model.path)
  const preferred = defaultSignature(source.signatures)
  const out = new Map<string, Imported>()
  for (const name of source.signatures) {
    try {
      out.set(name, await source.import(name))
    } catch (e) {
      if (!isAppError(e) || name === preferred) throw e
      io.warn(`Signature ${name} is left out. ${e.message}`)
    }
  }
  const nodes = [...out.values()].reduce((n, i) => n + (i.kind === 'graph' ? countNodes(i.graph) : 0), 0)
  progress(`${[...out.keys()].join(', ')}${nodes ? `; ${nodes} ONNX nodes` : ''}`)
  return { imported: out, initOp: source.initOp }
}

/** Signature names are free text; file names are not. */
function graphFile(signature: string, i: number): string {
  return /^[A-Za-z0-9_-]{1,60}$/.test(signature) ? `${signature}.onnx` : `signature-${i}.onnx`
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}
