import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { projectRoot } from '../root.ts'
import type { Arch, LayerDefinition, LayerFile, NativeLayer } from './definition.ts'
import { ARCHS } from './definition.ts'
import { packageDir } from './fetch.ts'

interface Part {
  /** absent: layers/ of this project */
  readonly package?: string
  /** `*` stands for a version inside a file name; each must match exactly one file */
  readonly files: readonly string[]
}

interface Recipe {
  readonly about: string
  parts(arch: Arch): readonly Part[]
}

/**
 * What the layers are made of. Files keep the paths npm gave them, below nodejs/node_modules, which is on Lambda's NODE_PATH:
 * `require` finds them in Lambda, in stand-ins that only know NODE_PATH, and in a clone, by one and the same name, and the
 * libraries find each other by their own rpath ($ORIGIN, and $ORIGIN/../../sharp-libvips-linux-x64/lib for sharp).
 * The JavaScript of both packages is bundled into the functions.
 */
const RECIPES = {
  runtime: {
    about: 'onnxruntime-node: the binding and its library, of one platform out of five',
    parts: (arch) => [
      {
        package: 'onnxruntime-node',
        files: ['libonnxruntime.so.1', 'onnxruntime_binding.node'].map((f) => `bin/napi-v6/linux/${arch}/${f}`),
      },
      { files: ['licenses/onnxruntime-node.txt'] },
    ],
  },
  image: {
    about: 'sharp: the binding and libvips',
    parts: (arch) => [
      {
        package: `@img/sharp-linux-${arch}`,
        files: ['LICENSE', 'index.cjs', 'package.json', `lib/sharp-linux-${arch}-*.node`],
      },
      {
        package: `@img/sharp-libvips-linux-${arch}`,
        // the README lists the licences of the libraries inside
        files: ['README.md', 'package.json', 'versions.json', 'lib/libvips-cpp.so.*'],
      },
    ],
  },
} as const satisfies Record<NativeLayer, Recipe>

/** The definition for the versions that package.json and sharp's own dependencies name. */
export async function define(
  name: NativeLayer,
  cache: string,
  archs: readonly Arch[] = ARCHS,
): Promise<LayerDefinition> {
  const files: Record<string, LayerFile[]> = {}
  for (const arch of archs) {
    const parts: readonly Part[] = RECIPES[name].parts(arch)
    files[arch] = (await Promise.all(parts.map((p) => filesOf(p, arch, cache)))).flat()
  }
  return { name, about: RECIPES[name].about, files: files as Record<Arch, LayerFile[]> }
}

async function filesOf(part: Part, arch: Arch, cache: string): Promise<LayerFile[]> {
  const version = part.package && wantedVersion(part.package)
  const dir = part.package ? await packageDir(part.package, version!, arch, cache) : join(projectRoot(), 'layers')
  return part.files.map((pattern) => {
    const from = only(dir, pattern)
    const data = readFileSync(join(dir, from))
    return {
      ...(part.package && { package: part.package, version }),
      from,
      to: part.package ? `nodejs/node_modules/${part.package}/${from}` : from,
      bytes: data.length,
      sha256: createHash('sha256').update(data).digest('hex'),
    }
  })
}

function only(dir: string, pattern: string): string {
  if (!pattern.includes('*')) return pattern
  const [before, after] = pattern.split('*') as [string, string]
  const folder = before.slice(0, before.lastIndexOf('/'))
  const found = readdirSync(join(dir, folder))
    .map((f) => `${folder}/${f}`)
    .filter((f) => f.startsWith(before) && f.endsWith(after))
  if (found.length === 1) return found[0]!
  throw new AppError('LAYER_FILE', { where: dir, expected: `one file ${pattern}`, got: found.join(', ') || 'none' })
}

/** sharp names its native packages, of every platform, as exact optional dependencies. */
function wantedVersion(name: string): string {
  const require = createRequire(join(projectRoot(), 'package.json'))
  const own = name.startsWith('@img/') ? 'sharp' : name
  // the package.json of sharp is not among its exports, so it is found beside its main file
  const dir = require.resolve(own).split(/[\\/]dist[\\/]/)[0]!
  const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as {
    version: string
    optionalDependencies?: Record<string, string>
  }
  return own === name ? manifest.version : manifest.optionalDependencies![name]!
}
