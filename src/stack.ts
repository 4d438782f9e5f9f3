import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'

const DEEPEST = 12
const INLINE_MAP = /\/\/# sourceMappingURL=data:application\/json;base64,(\S+)\s*$/

/**
 * The frames of an error that an author can do something about: up to the last one in the bundled hooks, in the words of
 * the source where the bundle carries a map. Without hooks: the first frames.
 */
export function trimStack(error: unknown, hooks?: string): string[] {
  const frames = (error instanceof Error ? (error.stack ?? '') : '').split('\n').filter((line) => /^\s+at /.test(line))
  const last = hooks === undefined ? -1 : frames.findLastIndex((frame) => frame.includes(hooks))
  return frames
    .slice(0, last === -1 ? DEEPEST : last + 1)
    .slice(-DEEPEST)
    .map((frame) => (hooks === undefined ? frame : toSource(frame, hooks)).trim())
}

function toSource(frame: string, hooks: string): string {
  const at = frame.lastIndexOf(`${hooks}:`)
  const map = at === -1 ? undefined : mapOf(hooks)
  const [line, column] = frame.slice(at + hooks.length + 1).split(/[:)]/)
  const entry = map?.findEntry(Number(line) - 1, Number(column) - 1)
  if (!entry || !('originalSource' in entry)) return frame
  const place = `${entry.originalSource}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
  return `${frame.slice(0, at)}${place}${frame.trimEnd().endsWith(')') ? ')' : ''}`
}

const maps = new Map<string, SourceMap | undefined>()

/** Read only when there is an error to tell: most processes never do. */
function mapOf(hooks: string): SourceMap | undefined {
  if (!maps.has(hooks)) maps.set(hooks, readMap(hooks))
  return maps.get(hooks)
}

/** Telling an error must not raise another: without a map that can be read, frames speak of the bundle. */
function readMap(hooks: string): SourceMap | undefined {
  try {
    const [, inline] = INLINE_MAP.exec(readFileSync(hooks, 'utf8')) ?? []
    return inline ? new SourceMap(JSON.parse(Buffer.from(inline, 'base64').toString())) : undefined
  } catch {
    return undefined
  }
}
