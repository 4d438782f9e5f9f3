import { existsSync, readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'

const DEEPEST = 12

/**
 * The frames of an error that an author can do something about: up to the last one in the bundled hooks, in the words of
 * the source where a map lies beside the bundle. Without hooks: the first frames.
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

function mapOf(hooks: string): SourceMap | undefined {
  const file = `${hooks}.map`
  if (!maps.has(file))
    maps.set(file, existsSync(file) ? new SourceMap(JSON.parse(readFileSync(file, 'utf8'))) : undefined)
  return maps.get(file)
}
