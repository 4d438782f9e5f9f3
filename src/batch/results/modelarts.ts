import { stringify } from '../../json.ts'
import { selector } from '../jsonpath.ts'
import type { Done, ResultFormat } from '../types.ts'

/**
 * As ModelArts' batch services leave it (modelarts.md 1.6): `infer-result/<file>_result.txt` with a body for each record, and a
 * manifest of the job. Folders of the input are kept, where ModelArts does not say what becomes of files with one name.
 */
export const modelartsResult = {
  name: 'modelarts',
  contentType: 'text/plain; charset=utf-8',
  separate: true,
  key: ({ prefix, key }) => `${prefix}infer-result/${key}_result.txt`,
  async open({ options }) {
    const filter = await selector(options.outputFilter, 'outputFilter')
    return {
      write: (r) => (r.ok ? `${stringify(filter ? (filter(r.body) ?? null) : r.body)}\n` : ''),
      end: () => '',
      state: () => null,
    }
  },
  manifest: {
    key: (prefix, job) => `${prefix}infer-result-${job}.manifest`,
    line: (done) => `${JSON.stringify(lineOf(done))}\n`,
  },
} as const satisfies ResultFormat

function lineOf({ status, input, output, counts, error }: Done) {
  const source = placeOf(input.bucket, input.key)
  if (status === 'DONE' && (counts.answered > 0 || counts.records === 0))
    return { source, result: 'SUCCESSFUL', 'inference-loc': placeOf(output.bucket, output.key) }
  const listed = output.errors === undefined ? '' : `, see ${placeOf(output.bucket, output.errors)}`
  const message = error?.reason ?? `${counts.failed} of ${counts.records} records failed${listed}`
  return { source, result: 'FAILED', error_message: message }
}

/** A bucket that is a path is a folder. */
const placeOf = (bucket: string, key: string) => `${bucket.startsWith('/') ? '' : 's3://'}${bucket}/${key}`
