/**
 * Everything that validation can say about a package. Validation never stops at the first: all findings come at once.
 * `modelarts` is the code that ModelArts' import gives for the same fault.
 */
export interface FindingRow {
  readonly severity: 'error' | 'warning' | 'info'
  readonly modelarts?: string
  readonly text: string
}

export const FINDINGS = {
  // reading config.json
  CONFIG_MISSING: { severity: 'error', modelarts: 'ModelArts.3015', text: 'The package has no config.json' },
  CONFIG_ENCODING: { severity: 'error', modelarts: 'ModelArts.3015', text: 'config.json is not UTF-8' },
  CONFIG_BOM: { severity: 'warning', text: 'config.json starts with a byte order mark' },
  CONFIG_SYNTAX: { severity: 'error', modelarts: 'ModelArts.3015', text: 'config.json is not valid JSON' },
  CONFIG_DUPLICATE: { severity: 'error', modelarts: 'ModelArts.3015', text: 'A key occurs twice' },
  CONFIG_LIMIT: { severity: 'error', modelarts: 'ModelArts.3015', text: 'config.json is beyond any sensible size' },
  // its fields
  CONFIG_UNKNOWN: { severity: 'error', modelarts: 'ModelArts.3016', text: 'Unknown key' },
  CONFIG_TYPE: { severity: 'error', modelarts: 'ModelArts.3016', text: 'Wrong type' },
  CONFIG_REQUIRED: { severity: 'error', modelarts: 'ModelArts.3036', text: 'A required key is missing' },
  CONFIG_VALUE: { severity: 'error', modelarts: 'ModelArts.3037', text: 'The value is not allowed' },
  CONFIG_FORBIDDEN: { severity: 'error', modelarts: 'ModelArts.3037', text: 'The key is not allowed here' },
  CONFIG_ENGINE: { severity: 'error', modelarts: 'ModelArts.3053', text: 'The model type is not supported' },
  CONFIG_RESTRAINT_EXACT: {
    severity: 'error',
    modelarts: 'ModelArts.3040',
    text: 'A system package with a version must have the restraint EXACT',
  },
  CONFIG_RESTRAINT: { severity: 'error', modelarts: 'ModelArts.3041', text: 'The restraint is not allowed' },
  CONFIG_SCHEMA: { severity: 'error', modelarts: 'ModelArts.3016', text: 'The JSON Schema is not valid' },
  CONFIG_MISSPELT_KEY: { severity: 'warning', text: 'A known misspelling of a key' },
  CONFIG_MISSPELT_VALUE: { severity: 'warning', text: 'A known misspelling of a value' },
  CONFIG_RESPONSE_TYPE: { severity: 'warning', text: 'The answer is JSON, whatever its declared type' },
  CONFIG_USELESS: { severity: 'warning', text: 'The key has no effect here' },
  // dependencies
  DEPENDENCY_REPLACED: { severity: 'info', text: 'The Python dependency is not needed' },
  DEPENDENCY_IGNORED: { severity: 'warning', text: 'The dependency is ignored' },
  DEPENDENCY_BUNDLED: { severity: 'info', text: 'The dependency is bundled with the hooks' },
  // files
  HOOKS_PYTHON: { severity: 'error', text: 'The hooks are written in Python' },
  HOOKS_AMBIGUOUS: { severity: 'error', text: 'There is more than one file of hooks' },
  HOOKS_INVALID: { severity: 'error', text: 'The hooks cannot be used' },
  HOOKS_TYPE: { severity: 'error', text: 'The hooks have a type error' },
  HOOKS_UNCHECKED: { severity: 'warning', text: 'The types of the hooks were not checked' },
  HOOKS_WARNING: { severity: 'warning', text: 'Bundling the hooks gave a warning' },
  MODEL_MISSING: { severity: 'error', modelarts: 'ModelArts.3001', text: 'The package has no model file' },
  MODEL_SEVERAL: {
    severity: 'error',
    modelarts: 'ModelArts.3015',
    text: 'The package has more than one main model file',
  },
  MODEL_FOREIGN: { severity: 'warning', text: 'The engine itself is not run here' },
  NAME_CHANGED: { severity: 'warning', text: 'The folder name is no model name' },
  LINK_OUTSIDE: { severity: 'warning', text: 'A link leads out of the package and was skipped' },
  GOLDEN_INVALID: { severity: 'error', text: 'A golden request cannot be read' },
} as const satisfies Record<string, FindingRow>

export type FindingCode = keyof typeof FINDINGS

/** Where and what; a value of config.json may be quoted, it is the author's own text. */
export interface FindingDetails {
  /** file, relative to the model folder */
  file?: string
  /** JSON pointer into that file */
  pointer?: string
  line?: number
  column?: number
  expected?: string
  got?: string
  fix?: string
}

/** A place in a JSON file. */
export interface Place {
  readonly pointer: string
  readonly line: number
  readonly column: number
}

/** How checks speak up. */
export type Report = (code: FindingCode, at: Place, details?: FindingDetails) => void

export interface Finding extends FindingDetails {
  readonly code: FindingCode
  readonly severity: FindingRow['severity']
  readonly modelarts?: string
  readonly message: string
}

export function finding(code: FindingCode, d: FindingDetails = {}): Finding {
  const row: FindingRow = FINDINGS[code]
  const what = [d.expected && `expected ${d.expected}`, d.got && `got ${d.got}`].filter(Boolean).join(', ')
  const message = `${row.text}${what ? `: ${what}` : ''}.${d.fix ? ` ${d.fix}` : ''}`
  return { code, severity: row.severity, ...(row.modelarts && { modelarts: row.modelarts }), ...d, message }
}

export const hasErrors = (list: readonly Finding[]) => list.some((f) => f.severity === 'error')

/** One line per finding, as compilers print them: `config.json:12:5 /apis/0/url error CONFIG_VALUE (ModelArts.3037) …` */
export function formatFinding(f: Finding): string {
  const place = [f.file, f.line, f.column].filter((p) => p !== undefined).join(':')
  const code = f.modelarts ? `${f.code} (${f.modelarts})` : f.code
  return [place, f.pointer, f.severity, code, f.message].filter(Boolean).join(' ')
}

/** `1 error, 3 warnings` */
export function countFindings(list: readonly Finding[]): string {
  const counts = (['error', 'warning'] as const).flatMap((severity) => {
    const n = list.filter((f) => f.severity === severity).length
    return n === 0 ? [] : [`${n} ${severity}${n === 1 ? '' : 's'}`]
  })
  return counts.join(', ') || 'no errors, no warnings'
}
