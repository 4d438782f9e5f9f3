import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command as Commander, CommanderError, Option } from 'commander'
import { AppError, isAppError } from '../../src/errors.ts'
import { projectRoot } from '../root.ts'
import type { Command, OptionSpec } from './command.ts'
import { COMMANDS } from './commands.ts'
import { type TerminalReporter, terminalReporter } from './reporter.ts'

/** What scripts may rely on; `--help` prints it. */
export const EXIT = { ok: 0, findings: 1, usage: 2, internal: 3 } as const

export interface Streams {
  readonly out: NodeJS.WritableStream
  readonly err: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Parses, runs, reports; never throws and never ends the process, so that tests can call it. */
export async function main(argv: readonly string[], streams: Streams, commands = COMMANDS): Promise<number> {
  const own = argv.includes('--') ? argv.slice(0, argv.indexOf('--')) : argv
  const io = terminalReporter({
    json: own.includes('--json') && !ownsJson(commandOf(own, commands)),
    quiet: own.includes('--quiet') || own.includes('-q'),
    debug: own.includes('--debug'),
    color: streams.err.isTTY === true && !streams.env.NO_COLOR && streams.env.TERM !== 'dumb',
    out: streams.out,
    err: streams.err,
  })
  try {
    return await parse(argv, streams, io, commands)
  } catch (e) {
    io.error(e)
    return exitCode(e)
  }
}

function exitCode(e: unknown): number {
  if (!isAppError(e) || e.code === 'INTERNAL') return EXIT.internal
  return e.code === 'USAGE' ? EXIT.usage : EXIT.findings
}

async function parse(argv: readonly string[], streams: Streams, io: TerminalReporter, commands: readonly Command[]) {
  let code: number = EXIT.ok
  const program = new Commander('modelayer')
    .description('Put a trained model behind an HTTPS endpoint and a batch pipeline on AWS Lambda.')
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .addHelpText('after', `\nExit codes: 0 fine, 1 findings or refused, 2 wrong usage, 3 internal error.`)
  for (const o of COMMON) program.addOption(option(o))
  harness(program, streams)

  for (const c of commands) {
    const sub = program.command(c.name).summary(c.summary).description([c.summary, c.text].filter(Boolean).join('\n\n'))
    for (const a of c.args) sub.argument(a.name, a.text)
    const common = ownsJson(c) ? COMMON.filter((o) => o.flags !== '--json') : COMMON
    for (const o of [...c.options, ...common]) sub.addOption(option(o))
    sub.addHelpText('after', `\nExamples:\n${c.examples.map((e) => `  $ ${e}`).join('\n')}`)
    harness(sub, streams)
    sub.action(async () => {
      const args = sub.processedArgs.flat().filter((a) => a !== undefined)
      code = await c.run({ args, options: sub.opts() }, io)
    })
  }

  try {
    await program.parseAsync(spelledOut(argv, commands), { from: 'user' })
  } catch (e) {
    if (!(e instanceof CommanderError)) throw e
    // commander throws for --help and --version too, with exit code 0
    if (e.exitCode === 0) return EXIT.ok
    if (e.code === 'commander.help') return EXIT.usage
    const command = commandOf(argv, commands)?.name
    throw new AppError('USAGE', {
      got: e.message.replace(/^error: |\.$/g, ''),
      fix: `See modelayer ${command ? `${command} ` : ''}--help.`,
    })
  }
  return code
}

/** The first word that names one: values of options may be such words too. */
function commandOf(argv: readonly string[], commands: readonly Command[]): Command | undefined {
  for (const arg of argv) {
    const found = commands.find((c) => c.name === arg)
    if (found) return found
  }
  return undefined
}

/** As argparse has it, a long option may be cut short where that is unambiguous: people type saved_model_cli's --input_expr. */
function spelledOut(argv: readonly string[], commands: readonly Command[]): string[] {
  const known = [...(commandOf(argv, commands)?.options ?? []), ...COMMON].flatMap(
    (o) => /--[\w-]+/.exec(o.flags) ?? [],
  )
  const end = argv.indexOf('--')
  return argv.map((arg, i) => {
    const name = /^--[\w-]+/.exec(arg)?.[0]
    if (!name || known.includes(name) || (end >= 0 && i > end)) return arg
    const meant = known.filter((k) => k.startsWith(name))
    return meant.length === 1 ? meant[0] + arg.slice(name.length) : arg
  })
}

const COMMON: readonly OptionSpec[] = [
  { flags: '--json', text: 'one JSON document on stdout instead of text' },
  { flags: '-q, --quiet', text: 'no progress, only warnings, errors and results' },
  { flags: '--debug', text: 'stack traces of errors' },
]

/** `predict --json FILE` gives JSON in; what it prints is JSON anyway */
const ownsJson = (c: Command | undefined) => c?.options.some((o) => o.flags.startsWith('--json ')) === true

/** Commander must neither exit nor print errors: both are main's. */
function harness(c: Commander, streams: Streams) {
  c.exitOverride().configureOutput({
    writeOut: (s) => void streams.out.write(s),
    writeErr: (s) => void streams.err.write(s),
    outputError: () => undefined,
  })
}

function option(o: OptionSpec): Option {
  const made = new Option(o.flags, o.text)
  if (o.default !== undefined) made.default(o.default)
  if (o.choices) made.choices([...o.choices])
  if (o.required) made.makeOptionMandatory()
  if (o.repeat) made.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value])
  return made
}

function version(): string {
  const { version } = JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')) as { version: string }
  return version
}
