import { compile } from 'json-p3'

/** The value, without what the paths find. */
export type Redact = (value: unknown) => unknown

export const REDACTED = '[redacted]'

/** Works in place; undefined where nothing is to be hidden. @throws {JSONPathError} for what is no path */
export function redactor(paths: readonly string[]): Redact | undefined {
  if (paths.length === 0) return undefined
  const queries = paths.map((path) => compile(path))
  return (value) => {
    const holder = { value }
    // the values are JSON
    for (const query of queries)
      for (const { location } of query.query(holder.value as Parameters<typeof query.query>[0]))
        replace(holder, ['value', ...location])
    return holder.value
  }
}

function replace(holder: object, location: readonly (string | number)[]): void {
  let [at, last] = [holder, location[0]!]
  for (const step of location.slice(1)) {
    const next: unknown = Reflect.get(at, last)
    // an earlier node of this path has taken all of it away
    if (typeof next !== 'object' || next === null) break
    ;[at, last] = [next, step]
  }
  // an assignment to a member that is called __proto__ would be none
  Object.defineProperty(at, last, { value: REDACTED, writable: true, enumerable: true, configurable: true })
}
