import { isAppError } from '../../src/errors.ts'
import { seconds } from './table.ts'

/**
 * How commands talk: results to stdout (one JSON document with --json), everything a human reads while waiting to stderr.
 * Code below packager/ takes a Reporter and knows neither streams nor terminals.
 */
export interface Reporter {
  /**
   * A piece of work worth a line: announced, shown as running, then ticked with its time, or crossed when it throws.
   * `progress` replaces the text behind the label; the last one stays on the finished line.
   */
  step<T>(label: string, work: (progress: (detail: string) => void) => Promise<T> | T): Promise<T>
  /** a line for humans; dropped by --quiet and --json */
  note(text: string): void
  /** survives --quiet; with --json collected into the document */
  warn(text: string): void
  /** only with --debug */
  debug(text: string): void
  /** the answer of the command, once: `data` is what --json prints, `text` what a human gets on stdout */
  result(data: unknown, text?: string): void
}

/** For callers without a terminal: tests, programs. */
export const silent: Reporter = {
  step: async (_, work) => work(() => undefined),
  note: () => undefined,
  warn: () => undefined,
  debug: () => undefined,
  result: () => undefined,
}

export interface Terminal {
  readonly json: boolean
  readonly quiet: boolean
  readonly debug: boolean
  readonly out: NodeJS.WritableStream
  readonly err: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }
  /** from NO_COLOR and isTTY, decided by main */
  readonly color: boolean
}

/** back to the first column, and nothing on the line */
const CLEAR = '\r\x1b[2K'
const BEAT_MS = 10_000
const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

export interface TerminalReporter extends Reporter {
  /** the one screen an error gets */
  error(e: unknown): void
}

export function terminalReporter(t: Terminal): TerminalReporter {
  const paint = (code: number, s: string) => (t.color ? `\x1b[${code}m${s}\x1b[0m` : s)
  const talk = !t.quiet && !t.json
  const live = talk && t.err.isTTY === true
  const warnings: string[] = []
  let answered = false
  // one live line at a time: a step inside a step prints plain lines, so that the spinner is never torn
  let spinning = false
  const line = (s: string) => void t.err.write(`${spinning ? CLEAR : ''}${s}\n`)

  const json = (value: Record<string, unknown>) => {
    answered = true
    t.out.write(`${JSON.stringify({ ...value, ...(warnings.length > 0 && { warnings }) }, replacer, 2)}\n`)
  }

  return {
    async step(label, work) {
      const start = performance.now()
      let detail = ''
      const text = () => (detail ? `${label}: ${detail}` : label)
      const spin = live && !spinning
      let frame = 0
      const draw = () => {
        const full = `${SPINNER[frame++ % SPINNER.length]} ${text()}`
        t.err.write(`${CLEAR}${full.slice(0, (t.err.columns || 80) - 1)}`)
      }
      // a log of plain lines still shows that something is alive
      const beat = () => line(`… ${text()}`)
      const timer = spin ? setInterval(draw, 100) : talk ? setInterval(beat, BEAT_MS) : undefined
      timer?.unref()
      if (spin) {
        spinning = true
        draw()
      }
      const end = (mark: string) => {
        clearInterval(timer)
        if (spin) {
          spinning = false
          t.err.write(CLEAR)
        }
        if (talk) line(`${mark} ${text()} ${paint(2, seconds(performance.now() - start))}`)
      }
      try {
        const value = await work((d) => {
          detail = d
        })
        end(paint(32, '✓'))
        return value
      } catch (e) {
        end(paint(31, '✗'))
        throw e
      }
    },
    note: (text) => {
      if (talk) line(text)
    },
    warn: (text) => {
      if (t.json) warnings.push(text)
      else line(`${paint(33, 'warning')} ${text}`)
    },
    debug: (text) => {
      if (t.debug) line(paint(2, text))
    },
    result(data, text) {
      if (t.json) json(isRecord(data) ? data : { result: data })
      else if (text !== undefined) t.out.write(text.endsWith('\n') ? text : `${text}\n`)
    },
    error(e) {
      const known = isAppError(e)
      const message = e instanceof Error ? e.message : String(e)
      if (t.json && !answered) {
        json({ error: { code: known ? e.code : 'INTERNAL', message, ...(known && e.details.data) } })
      } else if (!t.json) {
        line(`${paint(31, 'error')} ${known ? paint(2, `${e.code} `) : ''}${message}`)
      }
      if (t.debug && e instanceof Error) line(stackOf(e))
      else if (!known) line(paint(2, 'This is a defect of modelayer; --debug shows where it happened.'))
    },
  }
}

function stackOf(e: Error): string {
  const own = e.stack ?? e.message
  return e.cause instanceof Error ? `${own}\ncaused by ${stackOf(e.cause)}` : own
}

const isRecord = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v)

/** int64 beyond 2^53 has no JSON number in JavaScript; a string keeps it exact */
const replacer = (_: string, v: unknown) => (typeof v === 'bigint' ? v.toString() : v)
