import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { alive } from '../../src/alive.ts'

/** One vCPU at 1,769 MB, six at the most. */
export const cpusFor = (memory: number): number => Math.min(memory / 1769, 6)

const PERIOD = 20_000
const ROOT = '/sys/fs/cgroup'
let made = 0

/** A control group for one box: the memory limit and the CPU share that Lambda gives for its memory size. */
export interface Cgroup {
  /** cgroup.procs files that the box joins */
  readonly joins: readonly string[]
  /** what could not be limited, and why */
  readonly missing: readonly string[]
  oomKilled(): boolean
  /** after the last process is gone */
  remove(): Promise<void>
}

/** For a box that joins none. */
export const NO_CGROUP: Cgroup = { joins: [], missing: [], oomKilled: () => false, remove: async () => undefined }

interface Setting {
  readonly what: string
  /** folder of the hierarchy below /sys/fs/cgroup */
  readonly hierarchy: string
  readonly writes: readonly (readonly [file: string, value: string])[]
  /** Lambda has no swap; where the kernel does not account for it there is nothing to write */
  readonly swap?: readonly [file: string, value: string]
}

function settings(memory: number, unified: boolean): Setting[] {
  const limit = String(memory * 1024 * 1024)
  const cpus = cpusFor(memory)
  const quota = Math.round(cpus * PERIOD)
  const capped = cpus < availableParallelism()
  if (unified) {
    const cpu = capped ? [['cpu.max', `${quota} ${PERIOD}`] as const] : []
    const writes = [['memory.max', limit] as const, ...cpu]
    return [{ what: 'memory and CPU', hierarchy: '', writes, swap: ['memory.swap.max', '0'] }]
  }
  const cpu = [['cpu.cfs_period_us', `${PERIOD}`] as const, ['cpu.cfs_quota_us', `${quota}`] as const]
  return [
    {
      what: 'memory',
      hierarchy: 'memory',
      writes: [['memory.limit_in_bytes', limit]],
      swap: ['memory.memsw.limit_in_bytes', limit],
    },
    ...(capped ? [{ what: 'CPU', hierarchy: 'cpu', writes: cpu }] : []),
  ]
}

export function makeCgroup(memory: number): Cgroup {
  const unified = existsSync(join(ROOT, 'cgroup.controllers'))
  const name = `modelayer-${process.pid}-${++made}`
  const dirs: string[] = []
  const missing: string[] = []
  if (cpusFor(memory) > availableParallelism())
    missing.push(`CPU: this machine has ${availableParallelism()}, Lambda gives ${cpusFor(memory).toFixed(1)}`)
  for (const { what, hierarchy, writes, swap } of settings(memory, unified)) {
    const parent = join(ROOT, hierarchy)
    const dir = join(parent, name)
    try {
      sweep(parent)
      // version 2 gives its children only the controllers it is told to
      if (unified) writeFileSync(join(parent, 'cgroup.subtree_control'), '+memory +cpu')
      mkdirSync(dir)
      dirs.push(dir)
      for (const [file, value] of writes) writeFileSync(join(dir, file), value)
      if (swap && existsSync(join(dir, swap[0]))) writeFileSync(join(dir, swap[0]), swap[1])
    } catch (e) {
      missing.push(`${what}: not limited (${(e as NodeJS.ErrnoException).code} at ${dir})`)
    }
  }
  return {
    joins: dirs.map((d) => join(d, 'cgroup.procs')),
    missing,
    oomKilled: () => dirs.some(oomKilled),
    remove: async () => {
      // a killed process leaves its group a moment after its parent hears of it; what stays, the next sweep takes
      for (let tries = 0; tries < 50 && !dirs.map(remove).every(Boolean); tries++) await setTimeout(10)
    },
  }
}

/** Groups of processes that were killed before they could remove them. */
function sweep(parent: string) {
  for (const entry of readdirSync(parent)) {
    const pid = /^modelayer-(\d+)-\d+$/.exec(entry)?.[1]
    if (pid && Number(pid) !== process.pid && !alive(Number(pid))) remove(join(parent, entry))
  }
}

/** False where it is still in use. */
function remove(dir: string): boolean {
  try {
    rmdirSync(dir)
  } catch (e) {
    const { code = '' } = e as NodeJS.ErrnoException
    if (code === 'EBUSY') return false
    if (!['ENOENT', 'EACCES', 'EPERM', 'EROFS'].includes(code)) throw e
  }
  return true
}

function oomKilled(dir: string): boolean {
  const file = ['memory.events', 'memory.oom_control'].map((f) => join(dir, f)).find((f) => existsSync(f))
  return file !== undefined && /^oom_kill [1-9]/m.test(readFileSync(file, 'utf8'))
}
