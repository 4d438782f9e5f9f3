import { AppError } from '../../src/errors.ts'
import type { Reporter } from './reporter.ts'

/**
 * The frame's contract: a command is data plus `run`. One file per command in this folder, one row in commands.ts.
 * Heavy things (onnxruntime-node, sharp, esbuild, readers) are imported inside `run`, so that --help stays instant.
 */
export interface Command {
  readonly name: string
  /** one line for the list of commands */
  readonly summary: string
  /** the paragraph under `modelayer NAME --help` */
  readonly text?: string
  /** commander's syntax: `<package...>`, `[dir]` */
  readonly args: readonly { readonly name: string; readonly text: string }[]
  readonly options: readonly OptionSpec[]
  /** whole command lines */
  readonly examples: readonly string[]
  /**
   * Resolves to the exit code: 0 fine, 1 findings or refusal. Throws AppError otherwise: USAGE exits 2,
   * other codes 1, anything unforeseen 3.
   */
  run(input: Input, io: Reporter): Promise<number>
}

export interface OptionSpec {
  /** commander's syntax: `-o, --output <file>`; `--record` is a switch; the value is found under the long name in camelCase */
  readonly flags: string
  readonly text: string
  readonly default?: string
  readonly choices?: readonly string[]
  /** may be given more than once; read it with {@link many} */
  readonly repeat?: true
  readonly required?: true
}

export interface Input {
  /** positional arguments, variadic ones flattened */
  readonly args: readonly string[]
  readonly options: Readonly<Record<string, unknown>>
}

/** The value of an option that takes one. */
export function one(input: Input, name: string): string | undefined {
  const v = input.options[name]
  return typeof v === 'string' ? v : undefined
}

export function many(input: Input, name: string): string[] {
  const v = input.options[name]
  return Array.isArray(v) ? v.map(String) : []
}

export function flag(input: Input, name: string): boolean {
  return input.options[name] === true
}

export function integer(input: Input, name: string, range: { min: number; max: number }): number | undefined {
  const v = one(input, name)
  if (v === undefined) return undefined
  const n = Number(v)
  if (!/^\d+$/.test(v) || n < range.min || n > range.max) {
    throw new AppError('USAGE', {
      where: `--${name}`,
      expected: `an integer from ${range.min} to ${range.max}`,
      got: `'${v}'`,
    })
  }
  return n
}
