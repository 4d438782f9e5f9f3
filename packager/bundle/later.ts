import { isAbsolute, join, relative, resolve } from 'node:path'
import type { Metafile, Plugin } from 'esbuild'

/** Everything a function imports when it needs it. Beside the function and not in it, since a cold start compiles all of its own file. */
export const LATER_FILE = 'later.js'
export const LATER_ENTRY = 'modelayer:later'

/** What weighs more than all the rest and few functions use: each in a file of its own, so that whoever needs the rest does not compile it. */
export const APART: Readonly<Record<string, string>> = {
  'capture.js': 'src/capture/writer.ts',
  'fetch.js': 'src/fetch/fetch.ts',
  'xray.js': 'src/xray.ts',
}

const key = (modules: readonly string[], path: string) => `m${modules.indexOf(path)}`

/** Absolute paths of the project's modules that are reached by a dynamic import. */
export function importedLater({ inputs }: Metafile, root: string): string[] {
  const found = Object.values(inputs).flatMap((i) =>
    i.imports.filter((m) => m.kind === 'dynamic-import' && !m.external && /^src[\\/]/.test(m.path)),
  )
  return [...new Set(found.map((m) => join(root, m.path)))].sort()
}

/** `await import('./x.ts')` becomes a member of {@link LATER_FILE}, which {@link LATER_ENTRY} makes of the same modules, or the file it has. */
export function later(modules: readonly string[], root: string): Plugin {
  const apart = new Map(Object.entries(APART).map(([file, module]) => [join(root, module), `./${file}`]))
  return {
    name: 'later',
    setup(build) {
      build.onResolve({ filter: new RegExp(`^\\./${LATER_FILE.replace('.', '\\.')}$`) }, ({ path }) => ({
        path,
        external: true,
      }))
      build.onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
        const target = resolve(resolveDir, path)
        const own = apart.get(target)
        if (own !== undefined && kind === 'dynamic-import') return { path: own, external: true }
        return kind === 'dynamic-import' && modules.includes(target) ? { path: target, namespace: 'later' } : undefined
      })
      build.onLoad({ filter: /.*/, namespace: 'later' }, ({ path }) => ({
        contents: `module.exports = require('./${LATER_FILE}').${key(modules, path)}`,
        resolveDir: root,
      }))
      build.onResolve({ filter: new RegExp(`^${LATER_ENTRY}$`) }, () => ({ path: 'entry', namespace: 'later-entry' }))
      build.onLoad({ filter: /.*/, namespace: 'later-entry' }, () => ({
        // relative, so that the same sources give the same bytes in every folder
        contents: modules
          .map(
            (m) =>
              `export * as ${key(modules, m)} from './${(isAbsolute(m) ? relative(root, m) : m).replaceAll('\\', '/')}'`,
          )
          .join('\n'),
        resolveDir: root,
      }))
    },
  }
}
