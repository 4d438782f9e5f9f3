import { REPLACED } from './dependencies.ts'
import { CONFIG, type Field } from './fields.ts'
import { FINDINGS, type FindingRow } from './findings.ts'
import { RULES } from './rules.ts'

/** docs/config.md: the tables that validation itself works with. */
export function configMarkdown(): string {
  return [
    '# config.json',
    'Every field of a model package, as `modelayer validate` checks them. Validation reports all findings at once.',
    table(['field', 'type', 'required', 'values and rule', 'default', 'meaning'], rows('', CONFIG.keys)),
    '## Rules between fields',
    RULES.map((r) => `- ${r.doc}`).join('\n'),
    '## Slips that are accepted',
    'Each gives a warning and is read as what it means.',
    table(['where', 'written', 'read as'], slips('', CONFIG)),
    '## Python dependencies',
    'Packages of pip and conda that hooks in TypeScript do not need. Others are ignored with a warning.',
    table(['package', 'instead'], Object.entries(REPLACED)),
    '## Findings',
    'Errors stop packaging, warnings and notes do not. The ModelArts code is what its import answers to the same fault.',
    table(['code', 'severity', 'ModelArts', 'text'], Object.entries(FINDINGS).map(findingRow)),
  ]
    .join('\n\n')
    .concat('\n')
}

function findingRow([code, row]: [string, FindingRow]): string[] {
  return [`\`${code}\``, row.severity, row.modelarts ?? '', row.text]
}

function rows(prefix: string, keys: Readonly<Record<string, Field>>): string[][] {
  return Object.entries(keys).flatMap(([key, field]) => {
    const name = `${prefix}${key}${field.type === 'array' ? '[]' : ''}`
    const type = field.type === 'schema' ? 'JSON Schema' : field.type
    const allowed = [(field.values ?? field.items?.values)?.map((v) => `\`${v || '""'}\``).join(' '), field.rule?.text]
      .filter(Boolean)
      .join('; ')
    const value = field.default === undefined ? '' : `\`${JSON.stringify(field.default)}\``
    const own = [`\`${name}\``, type, field.required ? 'yes' : '', allowed, value, field.doc]
    return [own, ...rows(`${name}.`, field.keys ?? field.items?.keys ?? {})]
  })
}

function slips(name: string, field: Field): string[][] {
  const values = Object.entries(field.mended ?? {}).map(([wrong, [right]]) => [name, wrong, right].map(code))
  const inside = Object.entries({ ...field.keys, ...field.items?.keys }).flatMap(([key, f]) => {
    const path = name === '' ? key : `${name}.${key}`
    return [...(f.misspelt ?? []).map((wrong) => [path, wrong, key].map(code)), ...slips(path, f)]
  })
  return [...values, ...inside]
}

const code = (s: string) => `\`${s}\``

function table(header: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((c) => c.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...body.map(line)].join('\n')
}
