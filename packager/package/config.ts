import { nearest } from '../../src/nearest.ts'
import type { WeightsKind } from '../shrink/kinds.ts'
import { CONFIG, type Field } from './fields.ts'
import { type Finding, finding, hasErrors, type Place, type Report } from './findings.ts'
import { describeJson, escapePointer, type Json, readJson } from './json.ts'
import { RULES } from './rules.ts'
import { checkSchema, type JsonSchema } from './schema.ts'

/** config.json after validation: misspellings mended, defaults filled in. */
export interface Config {
  readonly model_algorithm: string
  readonly model_type: string
  readonly runtime?: string
  readonly swr_location?: string
  readonly metrics?: Readonly<Partial<Record<'f1' | 'recall' | 'precision' | 'accuracy', number>>>
  readonly apis: readonly Api[]
  readonly dependencies: readonly Dependency[]
  readonly weights?: readonly WeightsKind[]
  readonly health?: Readonly<Record<string, string>>
}

export interface Api {
  readonly protocol: 'http' | 'https'
  readonly url: string
  readonly method: 'POST' | 'GET'
  readonly request: { readonly 'Content-type': RequestType; readonly data?: JsonSchema }
  readonly response: { readonly 'Content-type': 'application/json'; readonly data?: JsonSchema }
}
export type RequestType = 'application/json' | 'multipart/form-data'

export interface Dependency {
  readonly installer: 'pip' | 'conda' | 'yum' | 'apt-get' | 'npm'
  readonly packages: readonly Requirement[]
}
export interface Requirement {
  readonly package_name: string
  readonly package_version?: string
  readonly restraint?: 'EXACT' | 'ATLEAST' | 'ATMOST' | ''
}

/** All findings at once; a config exactly when none of them is an error. */
export function readConfig(bytes: Uint8Array, file = 'config.json'): { config?: Config; findings: Finding[] } {
  const { tree, findings } = readJson(bytes, file)
  if (!tree) return { findings }
  const report: Report = (code, { pointer, line, column }, details) =>
    findings.push(finding(code, { file, pointer, line, column, ...details }))
  const value = check(tree, CONFIG, report)
  if (tree.type === 'object') for (const rule of RULES) rule.check(tree, report)
  findings.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
  // the table has just been walked without an error, so the value has the table's shape
  return hasErrors(findings) ? { findings } : { config: value as Config, findings }
}

function check(node: Json, field: Field, report: Report): unknown {
  if (field.type === 'schema') return checkSchema(node, report)
  if (node.type !== field.type) {
    const article = /^[aeiou]/.test(field.type) ? 'an' : 'a'
    report('CONFIG_TYPE', node, { expected: `${article} ${field.type}`, got: describeJson(node), fix: field.doc })
    return undefined
  }
  if (node.type === 'object') return checkObject(node.members, node, field.keys ?? {}, report)
  if (node.type === 'array') return node.items.map((item) => check(item, field.items!, report))
  if (typeof node.value === 'number') return checkNumber(node.value, node, report)
  return checkText(String(node.value), node, field, report)
}

function checkObject(members: ReadonlyMap<string, Json>, at: Place, keys: Record<string, Field>, report: Report) {
  const known = new Map(Object.entries(keys))
  const meant = new Map([...known].flatMap(([key, f]) => (f.misspelt ?? []).map((slip) => [slip, key] as const)))
  const found = new Map<string, Json>()
  for (const [key, node] of members) {
    const name = known.has(key) ? key : meant.get(key)
    if (name === undefined) {
      const near = nearest(key, [...known.keys()])
      const fix = near ? `Did you mean '${near}'?` : `Known keys: ${[...known.keys()].join(', ')}.`
      report('CONFIG_UNKNOWN', node, { got: `'${key}'`, fix })
    } else if (found.has(name)) {
      report('CONFIG_DUPLICATE', node, { got: `'${key}' beside '${name}'`, fix: 'Keep one.' })
    } else {
      if (name !== key) report('CONFIG_MISSPELT_KEY', node, { expected: `'${name}'`, got: `'${key}'` })
      found.set(name, node)
    }
  }
  const entries: [string, unknown][] = []
  for (const [key, field] of known) {
    const node = found.get(key)
    if (node) entries.push([key, check(node, field, report)])
    else if (field.required) report('CONFIG_REQUIRED', at, { expected: `'${key}'`, got: 'nothing', fix: field.doc })
    else if (field.default !== undefined) {
      entries.push([key, check(implied(field.default, at, `${at.pointer}/${escapePointer(key)}`), field, report)])
    }
  }
  return Object.fromEntries(entries)
}

function checkNumber(value: number, at: Place, report: Report): number {
  if (!Number.isFinite(value)) report('CONFIG_VALUE', at, { expected: 'a finite number', got: 'one too large' })
  return Math.abs(value) < 1 ? Number(value.toFixed(17)) : value
}

function checkText(text: string, at: Place, field: Field, report: Report): string {
  const slip = Object.entries(field.mended ?? {}).find(([wrong]) => wrong === text.toLowerCase())
  if (slip) {
    const [wrong, [right, code]] = slip
    report(code, at, { expected: `'${right}'`, got: `'${wrong}'`, fix: `It is read as '${right}'.` })
    return right
  }
  const { values, rule } = field
  const value = values?.find((v) => (field.caseless ? v.toLowerCase() === text.toLowerCase() : v === text))
  if (values && value === undefined) {
    const near = nearest(text, values)
    const expected = values.map((v) => `'${v}'`).join(' | ')
    report(field.code ?? 'CONFIG_VALUE', at, {
      expected,
      got: quote(text),
      ...(near && { fix: `Did you mean '${near}'?` }),
    })
  }
  if (rule && !rule.test(text)) report('CONFIG_VALUE', at, { expected: rule.text, got: quote(text) })
  return value ?? text
}

const quote = (text: string) => `'${text.length > 60 ? `${text.slice(0, 57)}…` : text}'`

/** A default as if it had been written at the place of its parent. */
function implied(value: unknown, at: Place, pointer: string): Json {
  const place = { pointer, line: at.line, column: at.column }
  if (Array.isArray(value)) {
    return { type: 'array', items: value.map((v, i) => implied(v, at, `${pointer}/${i}`)), ...place }
  }
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([k, v]) => [k, implied(v, at, `${pointer}/${escapePointer(k)}`)] as const,
    )
    return { type: 'object', members: new Map(members), ...place }
  }
  return { type: 'string', value: String(value), ...place }
}
