import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Plugin } from 'esbuild'
import { projectRoot } from '../root.ts'

/** Native code by the name it has in the layers (found through NODE_PATH) and in an ordinary node_modules alike. */
const HOST = `$\{process.platform}-$\{process.arch}`

/**
 * Bundles the JavaScript of sharp and leaves of it one `require` of native code. Each row replaces what a bundler cannot follow.
 * Requiring the whole package instead costs 13 ms of a cold start, and onnxruntime-node 10 ms.
 */
const REPLACED = [
  {
    // a search through every platform sharp knows
    file: /[\\/]sharp[\\/]dist[\\/]sharp\.cjs$/,
    contents: `module.exports = require(\`@img/sharp-${HOST}/sharp.node\`)`,
  },
  {
    // finds a libvips to build against; at run time only the platform's name is asked for
    file: /[\\/]sharp[\\/]dist[\\/]libvips\.cjs$/,
    contents: `exports.runtimePlatformArch = () => \`${HOST}\``,
  },
  {
    // reads ldd or spawns getconf to tell glibc from musl; Lambda has glibc, and the layer's libvips is for it
    file: /[\\/]detect-libc[\\/]lib[\\/]detect-libc\.js$/,
    contents: `exports.GLIBC = 'glibc'; exports.MUSL = 'musl'; exports.familySync = () => 'glibc'`,
  },
] as const

/** sharp is half of all the code: in a file of its own beside the function, a start without images does not compile it (3 ms). */
export const SHARP_FILE = 'sharp.js'

export const natives: Plugin = {
  name: 'natives',
  setup(build) {
    // as an entry point: its ES modules make a `require` from import.meta.url, which a CommonJS bundle does not have
    const sharp = createRequire(join(projectRoot(), 'package.json')).resolve('sharp')
    build.onResolve({ filter: /^sharp$/ }, ({ kind }) =>
      kind === 'entry-point' ? { path: sharp } : { path: `./${SHARP_FILE}`, external: true },
    )
    const onnxruntime = join(projectRoot(), 'packager', 'bundle', 'onnxruntime.ts')
    build.onResolve({ filter: /^onnxruntime-node$/ }, () => ({ path: onnxruntime }))
    for (const { file, contents } of REPLACED) build.onLoad({ filter: file }, () => ({ contents, loader: 'js' }))
  },
}
