import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Plugin } from 'esbuild'
import { AppError } from '../../src/errors.ts'
import { projectRoot } from '../root.ts'

/** Native code by the name it has in the layers (found through NODE_PATH) and in an ordinary node_modules alike. */
const HOST = `$\{process.platform}-$\{process.arch}`

/**
 * Bundles the JavaScript of onnxruntime-node and sharp and leaves of each one `require` of native code. Each row replaces what a
 * bundler cannot follow. Requiring the whole packages instead costs 6 ms and 13 ms of a cold start.
 */
const REPLACED = [
  {
    // the binding's path is relative to the package, which is gone once bundled
    file: /[\\/]onnxruntime-node[\\/]dist[\\/]binding\.js$/,
    rewrite: (source: string) => source.replace('require(`../bin/', 'require(`onnxruntime-node/bin/'),
  },
  {
    // a search through every platform sharp knows
    file: /[\\/]sharp[\\/]dist[\\/]sharp\.cjs$/,
    rewrite: () => `module.exports = require(\`@img/sharp-${HOST}/sharp.node\`)`,
  },
  {
    // finds a libvips to build against; at run time only the platform's name is asked for
    file: /[\\/]sharp[\\/]dist[\\/]libvips\.cjs$/,
    rewrite: () => `exports.runtimePlatformArch = () => \`${HOST}\``,
  },
  {
    // reads ldd or spawns getconf to tell glibc from musl; Lambda has glibc, and the layer's libvips is for it
    file: /[\\/]detect-libc[\\/]lib[\\/]detect-libc\.js$/,
    rewrite: () => `exports.GLIBC = 'glibc'; exports.MUSL = 'musl'; exports.familySync = () => 'glibc'`,
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
    for (const { file, rewrite } of REPLACED) {
      build.onLoad({ filter: file }, async ({ path }) => {
        const source = await readFile(path, 'utf8')
        const contents = rewrite(source)
        if (contents === source)
          throw new AppError('BAD_ARTIFACT', {
            where: path,
            expected: 'the version of the package that packager/bundle/natives.ts was written for',
            fix: 'Adapt its row in REPLACED.',
          })
        return { contents, loader: 'js' }
      })
    }
  },
}
