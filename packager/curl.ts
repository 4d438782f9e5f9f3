import { join, relative } from 'node:path'
import type { ModelPackage } from './package/types.ts'

export interface CurlOptions {
  /** other models answer there too, so the path names this one */
  readonly several: boolean
  /** what the authorisation needs */
  readonly flags?: readonly string[]
}

/** A line that can be pasted: the first golden request, or the shape of one. */
export async function curlLine(pkg: ModelPackage, url: string, { several, flags = [] }: CurlOptions): Promise<string> {
  return ['curl', ...flags, ...(await bodyOf(pkg)), several ? `${url}/v1/infers/${pkg.name}` : `${url}/`].join(' ')
}

async function bodyOf(pkg: ModelPackage): Promise<string[]> {
  const { readGoldens } = await import('./verify/golden-file.ts')
  const sample = pkg.goldenDir ? readGoldens(pkg.goldenDir).find((g) => g.expected.status === 200) : undefined
  const form = Object.entries(sample?.request.multipart ?? {}).flatMap(([field, parts]) =>
    (Array.isArray(parts) ? parts : [parts]).map((p) =>
      typeof p === 'string' ? `-F ${field}=${p}` : `-F ${field}=@${relative('.', join(pkg.goldenDir!, p.file))}`,
    ),
  )
  if (form.length > 0) return form
  const files = Object.entries(pkg.fields ?? {}).filter(([, f]) => f.kind === 'file')
  if (files.length > 0) return files.map(([field]) => `-F ${field}=@FILE`)
  const json = sample?.request.json ? JSON.stringify(sample.request.json).replaceAll("'", "'\\''") : '{…}'
  return ["-H 'content-type: application/json'", `-d '${json}'`]
}
