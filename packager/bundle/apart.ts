import { join } from 'node:path'
import type { Plugin } from 'esbuild'
import { projectRoot } from '../root.ts'

/** What fetches models, in a file of its own: a function whose models are in layers neither compiles it nor waits for it. */
export const FETCH_FILE = 'fetch.js'
export const FETCH_SOURCE = join('src', 'fetch', 'fetch.ts')

export const apart: Plugin = {
  name: 'apart',
  setup(build) {
    const source = join(projectRoot(), FETCH_SOURCE)
    build.onResolve({ filter: /[\\/]fetch[\\/]fetch\.ts$/ }, ({ kind, path, resolveDir }) =>
      kind === 'dynamic-import' && join(resolveDir, path) === source
        ? { path: `./${FETCH_FILE}`, external: true }
        : undefined,
    )
  },
}
