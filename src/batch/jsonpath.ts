import { AppError } from '../errors.ts'

/** The part of a value that a path points to; undefined where there is none. */
export type Select = (value: unknown) => unknown

/**
 * RFC 9535. A path to one place gives what is there, any other the list of all that it finds, as SageMaker's filters do.
 * @throws {AppError} USAGE for what is no path
 */
export async function selector(path: string | undefined, where: string): Promise<Select | undefined> {
  if (path === undefined || path === '$') return undefined
  // loaded by those who filter
  const { compile, JSONPathError } = await import('json-p3')
  try {
    const query = compile(path)
    const one = query.singularQuery()
    return (value) => {
      // the values are JSON, or what JSON would be made of
      const found = query.query(value as Parameters<typeof query.query>[0]).values()
      return one ? found[0] : found
    }
  } catch (cause) {
    if (!(cause instanceof JSONPathError)) throw cause
    throw new AppError('USAGE', { where, expected: 'a JSONPath', got: path.slice(0, 80), cause })
  }
}
