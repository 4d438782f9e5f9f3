import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Goldens } from '../../src/golden/run.ts'
import { GOLDEN_DIR, type StoredGolden } from '../../src/golden/stored.ts'
import { bundleFunction, functionEntry } from '../bundle/function.ts'
import type { ModelPackage } from '../package/types.ts'
import { defaultCache } from '../root.ts'
import { readGoldens } from '../verify/golden-file.ts'
import { encodeRequest, fileReader } from '../verify/request.ts'
import type { FunctionEntry } from './dist.ts'
import { writeZip, type ZipEntry } from './zip.ts'

const NAME = 'golden'

/** Paths that mean the only model there is, and how they name it where there are several. */
const NAMED: Readonly<Record<string, (model: string) => string>> = {
  '/': (model) => `/v1/infers/${model}`,
  '/invocations': (model) => `/models/${model}/invoke`,
}

/** The function that checks a new version, with the golden requests of all models; undefined where no model has any. */
export async function buildGolden(
  packages: readonly ModelPackage[],
  { out, cache = defaultCache() }: { readonly out: string; readonly cache?: string },
): Promise<FunctionEntry | undefined> {
  const work = await mkdtemp(join(tmpdir(), 'modelayer-golden-'))
  try {
    const requests = await writeRequests(packages, work)
    if (requests.length === 0) return undefined
    const { files } = await bundleFunction(NAME, functionEntry(NAME), join(work, 'bundle'))
    const file = `functions/${NAME}.zip`
    const zip = await writeZip([...files, ...requests], join(out, file), { cache })
    return { name: NAME, file, handler: `${NAME}.handler`, ...zip }
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function writeRequests(packages: readonly ModelPackage[], work: string): Promise<ZipEntry[]> {
  const entries: ZipEntry[] = []
  for (const [key, read] of storedOf(packages)) {
    const [name, path] = [`${GOLDEN_DIR}/${key}.json`, join(work, GOLDEN_DIR, `${key}.json`)]
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, JSON.stringify(read()))
    entries.push({ name, path })
  }
  return entries
}

/** The golden requests of models that one function serves. */
export function storedOf(packages: readonly ModelPackage[]): Goldens {
  const several = packages.length > 1
  const found = new Map<string, () => StoredGolden>()
  for (const { name: model, dir, goldenDir } of packages)
    for (const { name, request, expected, tolerance } of goldenDir ? readGoldens(goldenDir) : [])
      found.set(`${model}/${name}`, () => {
        const { path, contentType, body } = encodeRequest(request, fileReader(goldenDir!, dir))
        const named = several ? (NAMED[path]?.(model) ?? path) : path
        return { path: named, contentType, body: Buffer.from(body).toString('base64'), expected, tolerance }
      })
  return found
}
