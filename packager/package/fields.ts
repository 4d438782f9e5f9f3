import { WEIGHTS_KINDS } from '../shrink/kinds.ts'
import type { FindingCode } from './findings.ts'

/**
 * config.json as a table: the check, the defaults and docs/config.md follow from it.
 * The fields are those of the ModelArts model package specification; rules between fields are in rules.ts.
 */
export interface Field {
  readonly type: 'string' | 'number' | 'object' | 'array' | 'schema'
  readonly doc: string
  readonly required?: true
  /** as if it stood in the file */
  readonly default?: unknown
  readonly values?: readonly string[]
  /** values are compared without case and take the spelling of the list */
  readonly caseless?: true
  /** known slips of a value: what it means, and the warning */
  readonly mended?: Readonly<Record<string, readonly [string, FindingCode]>>
  readonly rule?: Rule
  /** the finding for a wrong value, where it has one of its own */
  readonly code?: FindingCode
  /** known slips of the key */
  readonly misspelt?: readonly string[]
  readonly keys?: Readonly<Record<string, Field>>
  readonly items?: Field
}

export interface Rule {
  readonly text: string
  readonly test: (value: string) => boolean
}

const RULES = {
  algorithm: {
    text: 'a name that starts with a letter, at most 36 characters, none of & ! \' " \\ < > = ( )',
    test: (v) => /^[A-Za-z][^&!'"\\<>=()]{0,35}$/.test(v),
  },
  word: { text: 'a name without spaces', test: (v) => /^\S{1,128}$/.test(v) },
  path: { text: 'a path that starts with /', test: (v) => /^\/[^\s?#]*$/.test(v) },
  package: { text: 'a name without & ! \' " < > = ( )', test: isPackageName },
  packageVersion: { text: 'a version without & ! \' " < > = ( )', test: (v) => plainWord(v) },
  amount: { text: 'text that is not blank', test: (v) => v.trim() !== '' },
} as const satisfies Record<string, Rule>

export function isPackageName(v: string): boolean {
  return v.trim() !== '' && plainWord(v)
}

function plainWord(v: string): boolean {
  return !/[&!'"<>=()]/.test(v)
}

const score = { type: 'number', doc: 'Shown beside the model; rounded to 17 decimals.' } as const satisfies Field

const JSON_TYPO = { 'applicaton/json': ['application/json', 'CONFIG_MISSPELT_VALUE'] } as const
const CONTENT_TYPE_SLIPS = ['Content-Type', 'content-type', 'content_type', 'contentType'] as const
const DATA = 'JSON Schema with the extra type `file`; needed for batch.'

const api = {
  type: 'object',
  doc: 'One API. Every model type except Image has one, with the url `/`.',
  keys: {
    protocol: {
      type: 'string',
      doc: 'Of older packages.',
      values: ['http', 'https'],
      default: 'https',
      misspelt: ['procotol'],
    },
    url: { type: 'string', doc: 'Path of the API.', default: '/', rule: RULES.path },
    method: { type: 'string', doc: 'Any case.', values: ['POST', 'GET'], caseless: true, default: 'POST' },
    request: {
      type: 'object',
      doc: 'What a request looks like.',
      default: {},
      keys: {
        'Content-type': {
          type: 'string',
          doc: 'How the body is written.',
          default: 'application/json',
          values: ['application/json', 'multipart/form-data'],
          caseless: true,
          mended: JSON_TYPO,
          misspelt: CONTENT_TYPE_SLIPS,
        },
        data: { type: 'schema', doc: DATA },
      },
    },
    response: {
      type: 'object',
      doc: 'What an answer looks like.',
      default: {},
      keys: {
        'Content-type': {
          type: 'string',
          doc: 'Always JSON.',
          default: 'application/json',
          values: ['application/json'],
          caseless: true,
          misspelt: CONTENT_TYPE_SLIPS,
          mended: { ...JSON_TYPO, 'multipart/form-data': ['application/json', 'CONFIG_RESPONSE_TYPE'] },
        },
        data: { type: 'schema', doc: DATA },
      },
    },
  },
} as const satisfies Field

const dependency = {
  type: 'object',
  doc: 'Packages of one installer.',
  keys: {
    installer: {
      type: 'string',
      required: true,
      values: ['pip', 'conda', 'yum', 'apt-get', 'npm'],
      doc: '`npm` packages are bundled with the hooks (an extension of modelayer); those of the others are reported as replaced or ignored.',
    },
    packages: {
      type: 'array',
      required: true,
      doc: 'The packages.',
      items: {
        type: 'object',
        doc: 'A package.',
        keys: {
          package_name: { type: 'string', required: true, doc: 'Its name.', rule: RULES.package },
          package_version: { type: 'string', doc: 'May be empty.', rule: RULES.packageVersion },
          restraint: {
            type: 'string',
            values: ['EXACT', 'ATLEAST', 'ATMOST', ''],
            code: 'CONFIG_RESTRAINT',
            doc: '`==`, `>=` or `<=` the version; required with a version, else it may be empty. With yum and apt-get only EXACT.',
          },
        },
      },
    },
  },
} as const satisfies Field

const probe = { type: 'string', rule: RULES.amount } as const

export const CONFIG = {
  type: 'object',
  doc: 'The configuration of a model package.',
  keys: {
    model_algorithm: {
      type: 'string',
      required: true,
      rule: RULES.algorithm,
      doc: 'What the model does, e.g. `image_classification`, `object_detection`, `predict_analysis`.',
    },
    model_type: {
      type: 'string',
      required: true,
      code: 'CONFIG_ENGINE',
      values: [
        ...['TensorFlow', 'PyTorch', 'MindSpore', 'MXNet', 'Caffe', 'Spark_MLlib', 'Scikit_Learn', 'XGBoost'],
        ...['Image', 'Template', 'Custom'],
      ],
      doc: 'The engine that made the model. Case counts.',
    },
    runtime: {
      type: 'string',
      rule: RULES.word,
      doc: 'The Python runtime on ModelArts, e.g. `python3.6`; modelayer needs none. Not for Image.',
    },
    swr_location: {
      type: 'string',
      rule: RULES.word,
      doc: 'Path of a container image; only, and then always, for Image.',
    },
    metrics: {
      type: 'object',
      doc: 'How good the model is.',
      keys: { f1: score, recall: score, precision: score, accuracy: score },
    },
    apis: { type: 'array', doc: 'The APIs.', default: [{}], items: api },
    dependencies: { type: 'array', doc: 'What the hooks need.', default: [], items: dependency },
    weights: {
      type: 'array',
      doc: 'How weights may be kept where the model does not fit into layers as it is, if its golden requests still pass (an extension of modelayer).',
      items: { type: 'string', values: [...WEIGHTS_KINDS], doc: 'A half, or a quarter of the bytes.' },
    },
    health: {
      type: 'object',
      doc: 'Health check; only, and then always, for Image.',
      keys: {
        url: { type: 'string', required: true, doc: 'Path that answers 200.', rule: RULES.path },
        protocol: { type: 'string', doc: 'Only http.', values: ['http'], default: 'http' },
        initial_delay_seconds: { ...probe, doc: 'Seconds, as text.' },
        timeout_seconds: { ...probe, doc: 'Seconds, as text.' },
        period_seconds: { ...probe, doc: 'Seconds, as text.' },
        failure_threshold: { ...probe, doc: 'A number, as text.' },
        check_method: { type: 'string', doc: 'How it is checked.', values: ['HTTP', 'EXEC'] },
        command: { ...probe, doc: 'For EXEC.' },
      },
    },
  },
} as const satisfies Field
