/** What a request means that names no signature: the only one, else `serving_default`, else the first by name. */
export function defaultSignature(names: readonly string[]): string {
  return names.length > 1 && names.includes('serving_default') ? 'serving_default' : [...names].sort()[0]!
}
