import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Arch } from '../layers/definition.ts'
import { projectRoot } from '../root.ts'
import type { BoxKind, BoxSpec } from './box.ts'
import { lambdaEnv } from './env.ts'
import { SHARED_AT, skeleton } from './skeleton.ts'
import { unpack, unpackLayers } from './unpack.ts'

export interface PlaceSpec {
  readonly layers: readonly string[]
  readonly function: string
  readonly functionName: string
  readonly handler: string
  readonly memory: number
  readonly tmp: number
  readonly shared: string | undefined
  readonly env: Readonly<Record<string, string>>
  readonly arch: Arch
  readonly node: string
  readonly nodeMajor: number
  readonly cache: string
  readonly api: string
}

/** A /tmp in memory counts as memory of the function, which Lambda's does not: a large one is a folder. */
export const IN_MEMORY_MB = 512

/** The unpacked files and the variables for one kind of box. */
export interface Place {
  readonly kind: BoxKind
  readonly spec: Omit<BoxSpec, 'cgroup' | 'log'>
  remove(): void
}

const fits = (arch: Arch) => process.platform === 'linux' && process.arch === arch

/** From the best down. Code of another platform cannot run here at all: it runs on this machine's own native packages. */
export function possibleKinds(arch: Arch, only?: BoxKind): { kinds: readonly BoxKind[]; notes: readonly string[] } {
  if (only) return { kinds: [only], notes: [] }
  if (!fits(arch)) {
    const here = `${process.platform}-${process.arch}`
    const text = `native code: the layers hold linux-${arch}, this machine is ${here}; its own node_modules are used instead`
    return { kinds: ['plain'], notes: [text] }
  }
  return { kinds: process.getuid?.() === 0 ? ['root', 'user', 'plain'] : ['user', 'plain'], notes: [] }
}

export async function placeFor(kind: BoxKind, s: PlaceSpec): Promise<Place> {
  const unpacked = await unpack(s.function, s.cache)
  const opt = await unpackLayers(s.layers, s.cache)
  const boxed = kind !== 'plain'
  // without a box the code must not lie below this project, where `require` would find the project's node_modules
  const task = boxed ? unpacked : mkdtempSync(join(tmpdir(), 'modelayer-task-'))
  if (!boxed) await cp(unpacked, task, { recursive: true })
  const tmpFolder = boxed && s.tmp > IN_MEMORY_MB ? mkdtempSync(join(tmpdir(), 'modelayer-tmp-')) : undefined
  if (tmpFolder) chmodSync(tmpFolder, 0o1777)
  const env = lambdaEnv({ ...s, ...(boxed ? { task: '/var/task', opt: '/opt' } : { task, opt }), extra: s.env })
  if (!boxed) {
    env.MODELAYER_OPT = opt
    if (s.shared !== undefined && env.MODELAYER_MODELS_ROOT === SHARED_AT) env.MODELAYER_MODELS_ROOT = s.shared
    if (!fits(s.arch)) env.NODE_PATH += delimiter + join(projectRoot(), 'node_modules')
  }
  return {
    kind,
    spec: {
      node: s.node,
      // Lambda turns both off for the runtimes that would have them on
      flags: s.nodeMajor < 24 ? ['--no-experimental-require-module', '--no-experimental-detect-module'] : [],
      task,
      opt,
      root: boxed ? await skeleton(s.node, s.cache) : '',
      tmpMB: s.tmp,
      ...(tmpFolder && { tmpFolder }),
      ...(s.shared !== undefined && { shared: s.shared }),
      env,
    },
    remove: () => {
      if (tmpFolder) rmSync(tmpFolder, { recursive: true, force: true })
      if (!boxed) rmSync(task, { recursive: true, force: true })
    },
  }
}
