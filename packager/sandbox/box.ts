import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import type { Cgroup } from './cgroup.ts'
import { bootstrapPath, SHARED_AT } from './skeleton.ts'

export interface BoxSpec {
  /** node of the host, which becomes /var/lang/bin/node */
  readonly node: string
  readonly flags: readonly string[]
  readonly task: string
  readonly opt: string
  /** from skeleton(); unused by `plain` */
  readonly root: string
  readonly tmpMB: number
  /** of the host, in place of a /tmp in memory */
  readonly tmpFolder?: string
  /** of the host, a file system that environments share */
  readonly shared?: string
  readonly env: Readonly<Record<string, string>>
  readonly cgroup: Cgroup
  readonly log: (text: string) => void
}

export interface Exit {
  readonly code: number | null
  readonly signal: string | null
}

export interface Box {
  /** resolves to performance.now() of the moment node is started in the finished box, to undefined if it never was */
  readonly started: Promise<number | undefined>
  readonly exited: Promise<Exit>
  kill(): void
}

/**
 * Builds the box in its own mount and process namespaces, so that everything vanishes with its last process. Everything is
 * mounted read-only except /tmp. The shell stays as process 1: the kernel ends all others when it dies, and unlike a process that
 * changes its user it keeps the signal that its parent's death sends it.
 */
const SCRIPT = `set -e
R=$1 TASK=$2 OPT=$3 NODE=$4 TMP=$5 DISK=$6 SHARED=$7 JOINS=$8; shift 8
bind() { mount -n --bind "$1" "$R$2"; mount -n -o remount,bind,ro,nosuid,nodev "$R$2"; }
mount -n --bind "$R" "$R"
bind "$TASK" /var/task
bind "$OPT" /opt
bind "$NODE" /var/lang/bin/node
for d in null zero random urandom; do mount -n --bind /dev/$d "$R/dev/$d"; done
if [ -n "$DISK" ]; then mount -n --bind "$DISK" "$R/tmp"
else mount -n -t tmpfs -o "size=\${TMP}m,mode=1777,nosuid,nodev" tmpfs "$R/tmp"; fi
if [ -n "$SHARED" ]; then mount -n --bind "$SHARED" "$R${SHARED_AT}"; fi
mount -n -t proc -o ro,nosuid,nodev,noexec proc "$R/proc"
mount -n -o remount,bind,ro,nosuid "$R"
for j in $JOINS; do echo 0 > "$j"; done
chroot=$(command -v chroot) unshare=$(command -v unshare)
export PATH="$BOX_PATH" LD_LIBRARY_PATH="$BOX_LIBS" PWD=/var/task
unset BOX_PATH BOX_LIBS
echo >&3
exec 3>&-
# the shell's own word on how it ended would stand in the function's log
exec 4>&2 2>/dev/null
(exec 2>&4 4>&-; exec ENTER) || exit $?
`

/** Lambda's user and group. */
const USER = { uid: 993, gid: 990 } as const
/** Host tools are found without the caller's environment. */
const TOOLS = '/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin'

interface Kind {
  /** what this kind cannot do */
  readonly missing: readonly string[]
  start(s: BoxSpec): ChildProcess
}

/** From the best down; the first that starts is used. */
export const KINDS = {
  root: {
    missing: [],
    start: (s) =>
      enclosed(s, [], `"$chroot" --userspec=${USER.uid}:${USER.gid} --groups= "$R" /var/lang/bin/node "$@"`),
  },
  user: {
    missing: [],
    start: (s) =>
      enclosed(
        s,
        ['--user', '--map-root-user', '--mount-proc'],
        `"$unshare" --user --map-user=${USER.uid} --map-group=${USER.gid} --root="$R" /var/lang/bin/node "$@"`,
      ),
  },
  plain: {
    missing: [
      'files: no read-only root and no /tmp of its own, the function sees the files of this machine',
      'memory and CPU: not limited',
      'user: the function runs as the user who started the sandbox',
    ],
    start: (s) =>
      spawn(s.node, [...s.flags, bootstrapPath()], {
        env: s.env,
        cwd: s.task,
        // its own process group, so that its children can be killed with it
        detached: process.platform !== 'win32',
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      }),
  },
} as const satisfies Record<string, Kind>

export type BoxKind = keyof typeof KINDS

function enclosed(s: BoxSpec, flags: readonly string[], enter: string): ChildProcess {
  const { PATH, LD_LIBRARY_PATH, ...env } = s.env
  const options: SpawnOptions = {
    // the tools that build the box must not load the box's libraries
    env: { ...env, PATH: TOOLS, BOX_PATH: PATH, BOX_LIBS: LD_LIBRARY_PATH },
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  }
  const namespaces = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', ...flags]
  const disks = [String(s.tmpMB), s.tmpFolder ?? '', s.shared ?? '']
  const parameters = [s.root, s.task, s.opt, s.node, ...disks, s.cgroup.joins.join(' ')]
  const script = SCRIPT.replace('ENTER', () => enter)
  const command = ['unshare', ...namespaces, 'sh', '-c', script, 'box', ...parameters]
  return spawn('setpriv', ['--pdeathsig', 'KILL', ...command, ...s.flags, '/var/runtime/bootstrap.cjs'], options)
}

export function startBox(kind: BoxKind, spec: BoxSpec): Box {
  const child = KINDS[kind].start(spec)
  for (const out of [child.stdout, child.stderr]) out?.setEncoding('utf8').on('data', spec.log)
  const exited = new Promise<Exit>((resolve) => {
    child.on('error', (e) => {
      spec.log(`${e.message}\n`)
      resolve({ code: 1, signal: null })
    })
    child.on('close', (code, signal) => resolve(decode(code, signal)))
  })
  const ready = child.stdio[3] as Readable | null | undefined
  const started = ready
    ? new Promise<number | undefined>((resolve) => {
        ready.once('data', () => resolve(performance.now()))
        ready.once('close', () => resolve(undefined))
        ready.once('error', () => resolve(undefined))
      })
    : Promise.resolve(child.pid === undefined ? undefined : performance.now())
  return {
    started,
    exited,
    kill: () => {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
      if (kind === 'plain' && process.platform !== 'win32') killGroup(child.pid)
      else child.kill('SIGKILL')
    },
  }
}

function killGroup(pid: number) {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ESRCH') throw e
  }
}

/** The shell around the box passes a signal on as 128 + its number. */
function decode(code: number | null, signal: string | null): Exit {
  const name = code !== null && code > 128 && signalName(code - 128)
  return name ? { code: null, signal: name } : { code, signal }
}

const signalName = (n: number) =>
  // 128 and 129 are what the bootstrap itself exits with after an unhandled error
  n === 1 ? undefined : Object.entries(constants.signals).find(([, value]) => value === n)?.[0]
