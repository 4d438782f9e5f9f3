import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { projectRoot } from '../root.ts'
import { once } from './unpack.ts'

export const bootstrapPath = (): string => join(projectRoot(), 'packager', 'sandbox', 'bootstrap.cjs')

/** Lambda mounts file systems below /mnt. */
export const SHARED_AT = '/mnt/models'

/** Where things of the host are mounted: folders and files that must exist in the root before it is read-only. */
const FOLDERS = [
  'proc',
  'tmp',
  'opt',
  'dev',
  'etc',
  'lib64',
  'mnt/models',
  'var/task',
  'var/runtime',
  'var/lang/bin',
] as const
const POINTS = ['var/lang/bin/node', 'dev/null', 'dev/zero', 'dev/random', 'dev/urandom'] as const

/** What native code of the layers links to and node itself may not have loaded. */
const SYSTEM = ['libstdc++.so.6', 'libgcc_s.so.1', 'libm.so.6', 'libdl.so.2', 'librt.so.1', 'libpthread.so.0'].concat([
  'libresolv.so.2',
  'libnss_dns.so.2',
  'libnss_files.so.2',
])

/**
 * The root of the box: the C and C++ libraries, a few files of /etc and our bootstrap, and nothing else of the host. No shell, no
 * tools, no node_modules. Made once per node binary and bootstrap.
 */
export async function skeleton(node: string, cache: string): Promise<string> {
  const real = realpathSync(node)
  const { mtimeMs, size } = statSync(real)
  const bootstrap = readFileSync(bootstrapPath())
  const etc = Object.entries(etcFiles())
  const key = createHash('sha256')
    .update(JSON.stringify([real, mtimeMs, size, etc, FOLDERS, SYSTEM]))
    .update(bootstrap)
  return once(join(cache, 'box', key.digest('hex').slice(0, 32)), async (root) => {
    for (const f of FOLDERS) await mkdir(join(root, f), { recursive: true, mode: 0o755 })
    for (const p of POINTS) await writeFile(join(root, p), '')
    await writeFile(join(root, 'var/runtime/bootstrap.cjs'), bootstrap)
    for (const [name, text] of etc) await writeFile(join(root, 'etc', name), text)
    for (const lib of libraries(real)) {
      await mkdir(join(root, dirname(lib)), { recursive: true })
      await copyFile(lib, join(root, lib))
      // Lambda's LD_LIBRARY_PATH begins there; the box has no ld.so.cache
      const short = join(root, 'lib64', basename(lib))
      if (!existsSync(short)) await symlink(lib, short)
    }
  })
}

function etcFiles(): Record<string, string> {
  const host = (name: string) => (existsSync(`/etc/${name}`) ? readFileSync(`/etc/${name}`, 'utf8') : '')
  return {
    passwd: 'root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n',
    group: 'root:x:0:\nsbx_user1051:x:990:\n',
    'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
    'resolv.conf': host('resolv.conf'),
    hosts: host('hosts'),
  }
}

/** Asked of a fresh node, because this process may have loaded more. */
function libraries(node: string): string[] {
  const script =
    'process.report.excludeNetwork=true;console.log(JSON.stringify(process.report.getReport().sharedObjects))'
  const loaded = (JSON.parse(execFileSync(node, ['-e', script], { encoding: 'utf8' })) as string[]).filter((l) =>
    /^\/.*\.so(\.|$)/.test(l),
  )
  const folders = [...new Set(loaded.map((l) => dirname(l)))]
  const extra = SYSTEM.filter((s) => !loaded.some((l) => basename(l) === s)).flatMap((s) =>
    folders
      .map((f) => join(f, s))
      .filter((f) => existsSync(f))
      .slice(0, 1),
  )
  return [...loaded, ...extra]
}
