/** Generated references: `npm run docs` writes them, a test regenerates and compares. The tables in the code are the truth. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FAMILIES } from '../packager/ops/index.ts'
import { LAYER_FAMILIES } from '../packager/ops/keras/index.ts'
import { configMarkdown } from '../packager/package/markdown.ts'
import { READERS } from '../packager/readers/index.ts'
import { projectRoot } from '../packager/root.ts'
import { STRUCTURED_OPS } from '../packager/structure/edges.ts'
import { ERRORS, type ErrorRow } from '../src/errors.ts'
import { DIMENSIONS, METRICS, type MetricRow } from '../src/metrics.ts'

const cell = (s: string) => s.replaceAll('|', '\\|').replaceAll('\n', ' ')
const rows = (header: readonly string[], body: readonly (readonly string[])[]) =>
  [header, header.map(() => '---'), ...body].map((r) => `| ${r.map(cell).join(' | ')} |`).join('\n')

export function errorsMarkdown(): string {
  const fault = { caller: 'whoever sent the request', author: 'the author of the package', platform: 'the platform' }
  const body = Object.entries(ERRORS as Record<string, ErrorRow>).map(([code, e]) => [
    `\`${code}\``,
    e.text,
    fault[e.fault],
    String(e.status),
    e.retryable ? 'yes' : '',
    e.modelarts ?? '',
  ])
  return `# Errors\n\nGenerated from src/errors.ts. Every message adds what was expected, what came, where, and what to do; never a value of a tensor.\n\n${rows(['code', 'meaning', 'who mends it', 'HTTP status', 'worth a retry', 'ModelArts'], body)}\n`
}

export function opsMarkdown(): string {
  const formats = READERS.map((r) => [r.name, r.files])
  const families = Object.entries(FAMILIES).map(([family, table]) => {
    const noted = Object.entries(table).map(([name, row]) => (row.note ? `${name} (${row.note})` : name))
    return `### ${family}\n\n${noted.sort().join(' · ')}`
  })
  const structure = `### STRUCTURE\n\nmade into If, Case and While before conversion: ${STRUCTURED_OPS.join(' · ')}`
  const layers = Object.values(LAYER_FAMILIES).flatMap((table) =>
    Object.entries(table).map(([name, row]) => (row.note ? `${name} (${row.note})` : name)),
  )
  const count = new Set([...STRUCTURED_OPS, ...Object.values(FAMILIES).flatMap((t) => Object.keys(t))]).size
  return [
    '# What can be imported',
    'Generated from the tables in packager/readers and packager/ops.',
    `## Model formats\n\n${rows(['format', 'recognised by'], formats)}`,
    `## TensorFlow operators: ${count}`,
    ...families,
    structure,
    `## Keras layers: ${layers.length}`,
    layers.sort().join(' · '),
    '',
  ].join('\n\n')
}

/** The tables stand between two comments of a page that is written by hand. */
export function observabilityMarkdown(): string {
  const page = readFileSync(join(projectRoot(), 'docs', 'observability.md'), 'utf8')
  const metrics = Object.entries(METRICS as Record<string, MetricRow>).map(([name, { from, unit, by, text }]) => [
    `\`${name}\``,
    from.join(', '),
    unit,
    by.join(', '),
    text,
  ])
  const dimensions = Object.entries(DIMENSIONS).map(([name, set]) => [name, set.map((d) => `\`${d}\``).join(', ')])
  const tables = `${rows(['metric', 'function', 'unit', 'by', 'counts'], metrics)}\n\n${rows(['by', 'dimensions'], dimensions)}`
  return page.replace(/(<!-- metrics[^\n]*-->\n).*(<!-- end -->)/s, (_, start, end) => `${start}\n${tables}\n\n${end}`)
}

export const DOCS: Readonly<Record<string, () => string>> = {
  'errors.md': errorsMarkdown,
  'config.md': configMarkdown,
  'ops.md': opsMarkdown,
  'observability.md': observabilityMarkdown,
}

if (process.argv[1]?.endsWith('docs.ts'))
  for (const [file, make] of Object.entries(DOCS)) writeFileSync(join(projectRoot(), 'docs', file), make())
