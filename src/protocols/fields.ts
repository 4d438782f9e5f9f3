import { AppError } from '../errors.ts'
import type { FieldSpec, Manifest } from '../manifest.ts'
import { nearest } from '../nearest.ts'
import type { RequestData } from '../types.ts'

/** true: a form, false: JSON, undefined: the package does not say. A model without hooks cannot read forms. */
export function expectsForm(manifest: Manifest): boolean | undefined {
  if (manifest.hooks === undefined) return false
  if (manifest.requestType) return manifest.requestType === 'multipart/form-data'
  const fields = Object.values(manifest.fields ?? {})
  return fields.length === 0 ? undefined : fields.some((f) => f.kind === 'file')
}

/** `images=@file -F note=text` */
export function spellFields(manifest: Manifest): string {
  const fields = Object.entries(manifest.fields ?? {}).map(
    ([name, f]) => `${name}=${f.kind === 'file' ? '@file' : 'text'}`,
  )
  return fields.join(' -F ') || 'field=@file'
}

/**
 * The declared fields are there and of the declared kind. More fields than declared are passed on, as ModelArts does.
 * @throws {AppError} MISSING_FIELD naming the field that was probably meant, BAD_REQUEST for text instead of a file
 */
export function checkFields(data: RequestData, manifest: Manifest): void {
  if (manifest.hooks === undefined) return
  const declared = manifest.fields ?? {}
  const form = expectsForm(manifest)
  const extra = Object.keys(data).filter((name) => !Object.hasOwn(declared, name))
  for (const [name, field] of Object.entries(declared)) {
    if (!Object.hasOwn(data, name)) {
      if (field.required) throw missing(name, field, data, extra)
      continue
    }
    const isFile = form && typeof data[name] !== 'string'
    if (form && isFile !== (field.kind === 'file'))
      throw new AppError('BAD_REQUEST', {
        where: `field ${name}`,
        expected: isFile ? 'text' : 'a file',
        got: isFile ? 'a file' : 'text',
        fix: isFile ? `Send it as text: curl -F ${name}=text …` : `Send the file itself: curl -F ${name}=@file …`,
      })
  }
}

function missing(name: string, field: FieldSpec, data: RequestData, extra: readonly string[]): AppError {
  const meant = nearest(name, extra)?.slice(0, 80)
  const names = Object.keys(data).map((n) => n.slice(0, 80))
  return new AppError('MISSING_FIELD', {
    expected: field.kind === 'file' ? `a file field ${name}` : `a field ${name}`,
    got: names.length === 0 ? 'no fields' : names.slice(0, 10).join(', '),
    fix: meant && `Rename ${meant} to ${name}.`,
  })
}
