/** `String` of whatever a file or an event holds. An object is only named: it may bring a `toString` that is none. */
export function shown(v: unknown): string {
  if (typeof v !== 'object' || v === null) return String(v)
  return Array.isArray(v) ? 'a list' : 'an object'
}
