import { basename } from 'node:path'
import { isAppError } from '../../src/errors.ts'
import type { Signature } from '../../src/manifest.ts'
import { spell } from '../../src/tensor.ts'
import { openBundle } from '../formats/bundle.ts'
import { importSource, type Source } from '../import.ts'
import { openSource } from '../readers/index.ts'
import { prefixOf } from '../readers/prefix.ts'
import type { Description } from './index.ts'
import { type KerasLayer, layersOf } from './keras.ts'

type Entry = Pick<Signature, 'inputs' | 'outputs'>

/** Models that saved_model_cli does not know, in its manner. @throws {AppError} MODEL_NOT_FOUND, BAD_MODEL_FILE */
export async function describeOther(path: string, wanted?: string): Promise<Description> {
  const prefix = prefixOf(path)
  const variables = prefix === undefined ? undefined : variablesOf(prefix)
  const opened = await attempt(() => importSource(path))
  // the variables of a checkpoint are listed without its graph
  if ('problem' in opened && !variables) throw opened.problem
  const layers = 'problem' in opened ? undefined : await kerasLayers(path)
  const { format, signatures, problems } = entriesOf(opened, wanted)
  const lines = [`${basename(path)}: ${format ?? 'TensorFlow checkpoint without a graph'}`]
  for (const [name, s] of Object.entries(signatures)) {
    lines.push(
      '',
      `signature_def['${name}']:`,
      '  The model contains the following input(s):',
      ...tensors('inputs', s.inputs),
    )
    lines.push('  The model contains the following output(s):', ...tensors('outputs', s.outputs))
  }
  for (const p of problems) lines.push('', `Inputs and outputs could not be listed: ${p}`)
  if (layers) lines.push('', 'Layers:', ...layers.map((l) => `  ${l.name} (${l.type})${l.detail && `: ${l.detail}`}`))
  if (variables) lines.push('', 'Variables:', ...variables.map((v) => `  ${v.name}: ${spell(v.dtype, v.shape)}`))
  return { text: `${lines.join('\n')}\n`, data: { format, signatures, problems, layers, variables } }
}

async function kerasLayers(path: string): Promise<KerasLayer[] | undefined> {
  const { source } = await openSource(path)
  return source.kind === 'keras' ? layersOf(source.model.config) : undefined
}

interface Listed {
  readonly format?: string
  readonly signatures: Readonly<Record<string, Entry>>
  readonly problems: readonly string[]
}

/** Dtypes and shapes of outputs come with the import, which may refuse; then the others are listed all the same. */
function entriesOf(opened: { value: Source } | { problem: Error }, wanted?: string): Listed {
  if ('problem' in opened) return { signatures: {}, problems: [opened.problem.message] }
  const source = opened.value
  const signatures: Record<string, Entry> = {}
  const problems: string[] = []
  for (const name of wanted === undefined ? source.signatures : [wanted]) {
    try {
      const { inputs, outputs } = source.import(name).signature
      signatures[name] = { inputs, outputs }
    } catch (e) {
      if (!isAppError(e) || e.code === 'UNKNOWN_SIGNATURE') throw e
      problems.push(e.message)
    }
  }
  return { format: source.format, signatures, problems }
}

async function attempt<T>(work: () => Promise<T>): Promise<{ value: T } | { problem: Error }> {
  try {
    return { value: await work() }
  } catch (problem) {
    if (isAppError(problem)) return { problem }
    throw problem
  }
}

function tensors(kind: string, specs: Entry['inputs']): string[] {
  return Object.entries(specs).flatMap(([key, t]) => [
    `    ${kind}['${key}'] tensor_info:`,
    `        dtype: ${t.dtype}`,
    `        shape: ${t.shape ? `(${t.shape.map((d) => d ?? -1).join(', ')})` : 'unknown_rank'}`,
    `        name: ${t.source ?? t.name}`,
  ])
}

function variablesOf(prefix: string): { name: string; dtype: string; shape: readonly number[] }[] {
  const bundle = openBundle(prefix)
  return bundle.keys.flatMap((name) => {
    const known = name.startsWith('_CHECKPOINTABLE') ? undefined : bundle.describe(name)
    return known ? [{ name, ...known }] : []
  })
}
