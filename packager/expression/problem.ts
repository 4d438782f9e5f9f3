import { AppError } from '../../src/errors.ts'

/** Which text is being read, for messages: the option and the name of the input. */
export interface Place {
  readonly option: string
  readonly input: string
}

/** @param at offset into the expression, counted from 0; messages count from 1 */
export function wrong(place: Place, at: number, expected: string, got: string, fix?: string): AppError {
  return new AppError('USAGE', {
    where: `${place.option} ${place.input}, position ${at + 1}`,
    expected,
    got: got.slice(0, 200),
    fix,
  })
}

/** Something is wrong with a value; the evaluator adds the place. */
export class ValueProblem extends Error {
  readonly expected: string
  readonly got: string
  constructor(expected: string, got: string) {
    super(`expected ${expected}, got ${got}`)
    this.expected = expected
    this.got = got
  }
}

/** Escapes of one character in Python's strings. */
export const ESCAPES: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}
