import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { Arch } from './definition.ts'
import type { ZipEntry } from './zip.ts'

/** Docker's names, and the tags of AWS's base image. */
const PLATFORM = { arm64: ['linux/arm64', 'arm64'], x64: ['linux/amd64', 'x86_64'] } as const satisfies Record<
  Arch,
  unknown
>

const dockerfile = (arch: Arch) => `FROM public.ecr.aws/lambda/nodejs:24-${PLATFORM[arch][1]}
COPY opt/ /opt/
COPY task/ /var/task/
CMD ["predict.handler"]
`

/**
 * A build context for one architecture: what layers and functions would hold, unpacked. One image for all functions: they have files in
 * common, and a deployment names the handler.
 */
export async function writeImage(
  dir: string,
  arch: Arch,
  opt: readonly ZipEntry[],
  functions: readonly (readonly ZipEntry[])[],
): Promise<void> {
  await rm(dir, { recursive: true, force: true })
  const done = new Map<string, string>()
  const put = async (folder: string, { name, path }: ZipEntry) => {
    const to = join(dir, folder, name)
    const other = done.get(to)
    if (other !== undefined && !(await same(other, path)))
      throw new AppError('BAD_ARTIFACT', { where: to, expected: 'one content', got: `${other} and ${path}` })
    if (other !== undefined) return
    done.set(to, path)
    await mkdir(dirname(to), { recursive: true })
    await copyFile(path, to)
  }
  for (const e of opt) await put('opt', e)
  for (const e of functions.flat()) await put('task', e)
  await writeFile(join(dir, 'Dockerfile'), dockerfile(arch))
}

const same = async (a: string, b: string) => (await readFile(a)).equals(await readFile(b))

/** Lambda takes an image of one platform, without the attestations that newer builders add. */
export const imageCommands = (dir: string, arch: Arch): string[] => [
  `docker build --platform ${PLATFORM[arch][0]} --provenance=false -t "$REPOSITORY:latest" ${dir}`,
  `aws ecr get-login-password | docker login --username AWS --password-stdin "\${REPOSITORY%%/*}"`,
  'docker push "$REPOSITORY:latest"',
]
