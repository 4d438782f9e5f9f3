import { basename, join, relative } from 'node:path'
import type { ModelPackage } from './package/types.ts'

export interface CurlOptions {
  /** other models answer there too, so the path names this one */
  readonly several: boolean
  /** what the authorisation needs */
  readonly flags?: readonly string[]
}

/** A line that can be pasted: the first golden request, or the shape of one. */
export async function curlLine(pkg: ModelPackage, url: string, { several, flags = [] }: CurlOptions): Promise<string> {
  const where = several ? `${url}/v1/infers/${pkg.name}` : `${url}/`
  const form = await formOf(pkg)
  // curl signs a form as if it were empty (curl#13351), so whoever signs builds the body before curl reads it
  const piped = form.length > 0 && flags.some((f) => f.startsWith('--aws-sigv4'))
  if (piped) return [`${bodyOf(form)} |`, 'curl', ...flags, ...PIPED, where].join(' ')
  const fields = form.map(({ field, file, text }) => `-F ${field}=${file === undefined ? text : `@${file}`}`)
  return ['curl', ...flags, ...(fields.length > 0 ? fields : await jsonOf(pkg)), where].join(' ')
}

interface Field {
  readonly field: string
  readonly text?: string
  readonly file?: string
}

const PIPED = ["-H 'content-type: multipart/form-data; boundary=B'", '--data-binary @-']

/** A shell's words for the body of a form. */
function bodyOf(form: readonly Field[]): string {
  const parts = form.map(({ field, file, text = '' }) => {
    const name = file === undefined ? '' : `; filename="${basename(file)}"`
    const head = `printf -- '--B\\r\\nContent-Disposition: form-data; name="${field}"${name}\\r\\n\\r\\n'`
    return `${head}; ${file === undefined ? `printf %s '${text}'` : `cat ${file}`}; printf '\\r\\n'`
  })
  return `{ ${parts.join('; ')}; printf -- '--B--\\r\\n'; }`
}

const sampleOf = async (pkg: ModelPackage) => {
  const { readGoldens } = await import('./verify/golden-file.ts')
  return pkg.goldenDir ? readGoldens(pkg.goldenDir).find((g) => g.expected.status === 200) : undefined
}

async function formOf(pkg: ModelPackage): Promise<Field[]> {
  const sample = await sampleOf(pkg)
  const form = Object.entries(sample?.request.multipart ?? {}).flatMap(([field, parts]) =>
    (Array.isArray(parts) ? parts : [parts]).map((p) =>
      typeof p === 'string' ? { field, text: p } : { field, file: relative('.', join(pkg.goldenDir!, p.file)) },
    ),
  )
  if (form.length > 0) return form
  const files = Object.entries(pkg.fields ?? {}).filter(([, f]) => f.kind === 'file')
  return files.map(([field]) => ({ field, file: 'FILE' }))
}

async function jsonOf(pkg: ModelPackage): Promise<string[]> {
  const sample = await sampleOf(pkg)
  const json = sample?.request.json ? JSON.stringify(sample.request.json).replaceAll("'", "'\\''") : '{…}'
  return ["-H 'content-type: application/json'", `-d '${json}'`]
}
