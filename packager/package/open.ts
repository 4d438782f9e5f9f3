import { readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { FieldSpec } from '../../src/manifest.ts'
import { type Config, readConfig } from './config.ts'
import { dependencyFindings } from './dependencies.ts'
import { countFindings, type Finding, finding, formatFinding, hasErrors } from './findings.ts'
import { type FolderFile, isFile, isFolder, listFolder } from './folder.ts'
import { findLayout, type Layout, splitVersion } from './layout.ts'
import { findModels, modelFileOf, relativeTo } from './model-file.ts'
import type { HookSource, ModelFile, ModelPackage, OpenOptions } from './types.ts'

export type { HookSource, ModelFile, ModelPackage, OpenOptions } from './types.ts'

const HOOKS = /^customize_service\.(ts|mts|js|mjs)$/
const SOURCE = /\.(ts|mts|cts|js|mjs|cjs|py|pyc|ipynb)$/
const NAME = /^[A-Za-z0-9_-]{1,64}$/

/**
 * A package with config.json. Throws BAD_PACKAGE with every finding where there is an error; a package that comes back
 * has only warnings and notes among its findings.
 */
export async function openPackage(path: string, options: OpenOptions = {}): Promise<ModelPackage> {
  return accept(path, inspectPackage(path, options))
}

/** A bare model: a SavedModel, a base folder with versions, a file; no config.json, no hooks: its tensors are the API. */
export async function openModel(path: string, options: OpenOptions = {}): Promise<ModelPackage> {
  const { path: plain } = splitVersion(path)
  const file = isFolder(plain) ? undefined : modelFileOf(plain)
  if (!file) return accept(path, inspect(findLayout(path, options), false))
  if (file.kind !== 'checkpoint' && !isFile(plain)) {
    throw new AppError('MODEL_NOT_FOUND', { where: path, expected: 'a model file', got: 'nothing' })
  }
  return fromFile(file, resolve(plain), options)
}

/** Whichever of the two it is: what serve and predict take. */
export async function openAny(path: string, options: OpenOptions = {}): Promise<ModelPackage> {
  const { path: plain } = splitVersion(path)
  if (!isFolder(plain)) return openModel(path, options)
  const { modelDir } = findLayout(path, options)
  return isFile(join(modelDir, 'config.json')) ? openPackage(path, options) : openModel(path, options)
}

/** Everything that can be said about a package, without throwing for it; `pkg` exactly when there is no error. */
export function inspectPackage(path: string, options: OpenOptions = {}): Inspection {
  return inspect(findLayout(path, options), true)
}

export interface Inspection {
  readonly name: string
  readonly version: string
  readonly pkg?: ModelPackage
  /** what can be checked further even where config.json or the model has errors */
  readonly hooks?: HookSource
  readonly goldenDir?: string
  readonly findings: Finding[]
}

/** The error of a package, with every finding in its text. */
export function packageError(path: string, findings: readonly Finding[]): AppError {
  const lines = findings.filter((f) => f.severity !== 'info').map((f) => `\n  ${formatFinding(f)}`)
  return new AppError('BAD_PACKAGE', {
    where: path,
    got: `${countFindings(findings)}${lines.join('')}`.replace(/\.$/, ''),
    data: { findings },
  })
}

function accept(path: string, { pkg, findings }: Inspection): ModelPackage {
  if (pkg) return pkg
  throw packageError(path, findings)
}

function inspect(layout: Layout, withConfig: boolean): Inspection {
  const { modelDir } = layout
  const { files, outside } = listFolder(modelDir)
  const findings = outside.map((path) => finding('LINK_OUTSIDE', { file: path }))
  const name = nameOf(layout.name, findings)
  const read = withConfig ? config(files, findings) : undefined
  const hooksFile = withConfig ? hooks(files, findings) : undefined
  if (read) findings.push(...dependencyFindings(read, hooksFile !== undefined))
  const inside = layout.inside === undefined ? files : files.filter((f) => f.path.startsWith(`${layout.inside}/`))
  const models = findModels(inside)
  const model = one(models.candidates, models.foreign, modelDir, findings)
  if (read && read.model_type !== 'TensorFlow' && model && model.kind !== 'onnx') {
    const got = `model_type '${read.model_type}'`
    findings.push(finding('MODEL_FOREIGN', { got, fix: `${relativeTo(modelDir, model)} is imported in its place.` }))
  }
  const goldenDir = withConfig ? [modelDir, layout.dir].map((d) => join(d, 'golden')).find(isFolder) : undefined
  const common = { name, version: layout.version, ...(goldenDir && { goldenDir }) }
  const hookSource = hooksFile && { modelDir, hooksFile, ...(read && { config: read }) }
  const inspection: Inspection = { ...common, ...(hookSource && { hooks: hookSource }), findings }
  if (!model || hasErrors(findings)) return inspection

  const isAsset = ({ path }: FolderFile) =>
    path !== 'config.json' && !path.startsWith('golden/') && !SOURCE.test(path) && !models.isModelPart(path)
  const assets = withConfig ? files.filter(isAsset).map((f) => [f.path, f.file] as const) : []
  const whole = {
    ...common,
    ...hookSource,
    dir: layout.dir,
    modelDir,
    model,
    assets: Object.fromEntries(assets),
    findings,
  }
  return { ...inspection, pkg: { ...whole, ...(read && { config: read, ...fieldsOf(read) }) } }
}

function config(files: readonly FolderFile[], findings: Finding[]): Config | undefined {
  const file = files.find((f) => f.path === 'config.json')
  if (!file) {
    const near = files.find((f) => f.path.toLowerCase() === 'config.json')
    const fix = near ? `Rename ${near.path}.` : 'Add one; docs/config.md lists its fields.'
    findings.push(finding('CONFIG_MISSING', { fix }))
    return undefined
  }
  const read = readConfig(readFileSync(file.file))
  findings.push(...read.findings)
  return read.config
}

function hooks(files: readonly FolderFile[], findings: Finding[]): string | undefined {
  const found = files.filter((f) => HOOKS.test(f.path))
  if (found.length > 1) {
    findings.push(finding('HOOKS_AMBIGUOUS', { expected: 'one', got: found.map((f) => f.path).join(', ') }))
  }
  if (found.length === 0 && files.some((f) => f.path === 'customize_service.py')) {
    const fix = 'Rewrite it as customize_service.ts: the same class with the same three methods.'
    findings.push(finding('HOOKS_PYTHON', { file: 'customize_service.py', expected: 'customize_service.ts', fix }))
  }
  return found[0]?.file
}

function one(candidates: readonly ModelFile[], foreign: readonly string[], dir: string, findings: Finding[]) {
  if (candidates.length === 0) {
    const expected = 'a SavedModel, .onnx, .keras, .h5, frozen .pb or checkpoint'
    const fix = foreign.length > 0 ? 'Export the model as ONNX.' : undefined
    findings.push(finding('MODEL_MISSING', { expected, got: foreign.join(', ') || 'none of them', fix }))
  }
  if (candidates.length > 1) {
    const got = candidates.map((m) => relativeTo(dir, m)).join(', ')
    findings.push(finding('MODEL_SEVERAL', { expected: 'exactly one', got, fix: 'Keep the one to serve.' }))
  }
  return candidates[0]
}

function nameOf(folder: string, findings: Finding[]): string {
  if (NAME.test(folder)) return folder
  const made = folder.replaceAll(/[^A-Za-z0-9_-]+/g, '-').slice(0, 64) || 'model'
  const expected = '1 to 64 letters, digits, _ or -'
  findings.push(
    finding('NAME_CHANGED', { expected, got: `'${folder}'`, fix: `It is called '${made}'; --name gives another.` }),
  )
  return made
}

function fromFile(model: ModelFile, path: string, options: OpenOptions): ModelPackage {
  const findings: Finding[] = []
  const dir = dirname(path)
  const stem = basename(model.path).replace(/\.[^.]+$/, '')
  const layout = model.kind === 'savedmodel' ? findLayout(model.path, options) : undefined
  const name = nameOf(options.name ?? layout?.name ?? stem, findings)
  return { dir, modelDir: dir, name, version: layout?.version ?? options.version ?? '1', model, assets: {}, findings }
}

/**
 * The fields of a request. ModelArts' own samples never list a form's files under `required`, yet the hooks cannot do
 * without them: where a schema has no `required` at all, its files count as required.
 */
function fieldsOf(config: Config): { fields?: Record<string, FieldSpec> } {
  const data = config.apis[0]?.request.data
  const properties = data?.properties as Record<string, { type?: unknown }> | undefined
  if (!properties || Object.keys(properties).length === 0) return {}
  const required = data?.required as string[] | undefined
  const spec = (name: string, type: unknown): FieldSpec => {
    const kind = type === 'file' ? 'file' : 'json'
    return { kind, required: required ? required.includes(name) : kind === 'file' }
  }
  return { fields: Object.fromEntries(Object.entries(properties).map(([name, s]) => [name, spec(name, fileType(s))])) }
}

/** a list of files is a field of several files */
function fileType(schema: { type?: unknown; items?: unknown }): unknown {
  const item = Array.isArray(schema.items) ? schema.items[0] : schema.items
  return schema.type === 'array' && (item as { type?: unknown } | undefined)?.type === 'file' ? 'file' : schema.type
}
