import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { type Finding, finding } from '../package/findings.ts'
import type { HookSource } from '../package/types.ts'
import { projectRoot } from '../root.ts'

/**
 * Runs TypeScript's own compiler over customize_service.ts against modelayer's types. Only findings in files of the package
 * count. Hooks are often carried over from Python: parameters without a type are no error.
 */
export async function typeCheck(pkg: HookSource): Promise<Finding[]> {
  const { hooksFile, modelDir } = pkg
  if (!hooksFile || !/\.m?ts$/.test(hooksFile)) return []
  const file = relative(modelDir, hooksFile)
  const unchecked = (got: string) => [
    finding('HOOKS_UNCHECKED', { file, got, fix: 'npm install --save-dev typescript' }),
  ]
  const tsc = compiler(modelDir)
  if (!tsc) return unchecked('no TypeScript compiler')
  const types = ['src/index.ts', 'build/index.d.ts'].map((f) => join(projectRoot(), f)).find((f) => existsSync(f))
  if (!types) return unchecked("no types of 'modelayer'")

  const dir = mkdtempSync(join(tmpdir(), 'modelayer-types-'))
  try {
    const config = join(dir, 'tsconfig.json')
    writeFileSync(config, JSON.stringify({ compilerOptions: options(types), files: [hooksFile] }))
    const { output, ok } = await runCompiler(tsc, ['-p', config, '--pretty', 'false'], modelDir)
    const found = parse(output, modelDir)
    return ok || found.length > 0 || /^\S+\.[cm]?ts\(\d/m.test(output) ? found : unchecked(output.trim().slice(0, 300))
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const options = (types: string) => ({
  target: 'ES2023',
  lib: ['ES2023'],
  module: 'ESNext',
  moduleResolution: 'bundler',
  strict: true,
  noImplicitAny: false,
  useUnknownInCatchVariables: false,
  skipLibCheck: true,
  noEmit: true,
  allowImportingTsExtensions: true,
  resolveJsonModule: true,
  esModuleInterop: true,
  types: ['node'],
  typeRoots: [join(projectRoot(), 'node_modules', '@types')],
  paths: { modelayer: [types] },
})

/** The author's own compiler, else modelayer's. */
function compiler(modelDir: string): string | undefined {
  for (const from of [modelDir, projectRoot()]) {
    try {
      const manifest = createRequire(join(from, 'package.json')).resolve('typescript/package.json')
      return join(dirname(manifest), 'bin', 'tsc')
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw e
    }
  }
  return undefined
}

function runCompiler(tsc: string, args: string[], cwd: string): Promise<{ output: string; ok: boolean }> {
  return new Promise((done) =>
    execFile(process.execPath, [tsc, ...args], { cwd, maxBuffer: 16 * 1024 * 1024 }, (e, stdout, stderr) =>
      done({ output: stdout + stderr, ok: e === null }),
    ),
  )
}

/** `customize_service.ts(12,5): error TS2322: …`, with continuation lines indented below */
function parse(output: string, modelDir: string): Finding[] {
  const found: Finding[] = []
  for (const [, file, line, column, text] of output.matchAll(
    /^(\S.*?)\((\d+),(\d+)\): error (TS\d+: .+(?:\n {2,}.+)*)/gm,
  )) {
    const path = relative(modelDir, resolve(modelDir, file!))
    if (path.startsWith('..') || path.split(sep).includes('node_modules')) continue
    const got = text!.replaceAll(/\s*\n\s*/g, ' ').replace(/\.$/, '')
    found.push(finding('HOOKS_TYPE', { file: path, line: Number(line), column: Number(column), got }))
  }
  return found
}
