import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Arch } from '../../packager/layers/definition.ts'
import { readDist } from '../../packager/layers/dist.ts'
import { projectRoot } from '../../packager/root.ts'
import { bootOptions } from '../../packager/sandbox/dist.ts'
import type { SandboxOptions } from '../../packager/sandbox/sandbox.ts'

export interface Contestant {
  readonly name: string
  readonly about: string
  readonly options: SandboxOptions
}

const root = projectRoot()
const build = join(root, 'build', 'bench')
const modelayer = (...args: string[]) =>
  execFileSync(process.execPath, [join(root, 'bin', 'modelayer'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })

/** Ours from the zips that `modelayer package` writes, and the two it is measured against, on the same model. */
export async function contestants(example: string, arch: Arch): Promise<Contestant[]> {
  const dist = join(build, 'dist')
  modelayer('package', example, '-o', dist, '--arch', arch)
  const index = await readDist(dist)
  const model = index.models[0]!
  const signature = model.signatures[model.defaultSignature]!
  const [input, output] = [Object.values(signature.inputs)[0]!, Object.values(signature.outputs)]
  const ours = bootOptions(dist, index, arch)
  const native = { arch, memory: 1769 }
  // the output that the hooks read
  const scores = output.find((o) => signature.outputs.scores === o) ?? output[0]!

  const graph = `/opt/models/${model.name}/${model.version}/${signature.graph}`
  const env = { GRAPH: graph, INPUT: input.name, OUTPUT: scores.name }
  return [
    {
      name: 'modelayer',
      about: 'the built zips',
      options: { ...native, ...ours },
    },
    {
      name: 'floor',
      about: 'nothing but dlopen, one graph, one PNG by hand',
      options: { ...native, ...ours, function: floor(), handler: 'floor.handler', env },
    },
    {
      name: 'naive',
      about: 'hono + sharp + client-s3 + onnxruntime at the top, .onnx with default options',
      options: {
        ...native,
        layers: [],
        function: naive(example, arch),
        handler: 'naive.handler',
        // without it the peer would report to its maker from every run; it saves the peer 2 to 3 ms
        env: { OUTPUT: scores.name, ORT_DISABLE_TELEMETRY: '1' },
      },
    },
  ]
}

function floor(): string {
  const folder = join(build, 'floor')
  mkdirSync(folder, { recursive: true })
  copyFileSync(join(root, 'bench', 'cold', 'floor.cjs'), join(folder, 'floor.cjs'))
  return folder
}

/** npm's own folder structure, with native code of one platform: all five would not fit into Lambda. */
function naive(example: string, arch: Arch): string {
  const folder = join(build, 'naive')
  mkdirSync(folder, { recursive: true })
  const wanted = readFileSync(join(root, 'bench', 'peers', 'package.json'), 'utf8')
  const installed = join(folder, 'package.json')
  if (!existsSync(installed) || readFileSync(installed, 'utf8') !== wanted) {
    rmSync(folder, { recursive: true })
    mkdirSync(folder)
    writeFileSync(installed, wanted)
    const shell = process.platform === 'win32'
    execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: folder,
      shell,
      stdio: 'inherit',
    })
    copyNatives(join(folder, 'node_modules'), arch)
  }
  copyFileSync(join(root, 'bench', 'cold', 'naive.mjs'), join(folder, 'naive.mjs'))
  modelayer('import', join(example, 'model'), '-o', join(folder, 'model.onnx'))
  return folder
}

function copyNatives(to: string, arch: Arch): void {
  const require = createRequire(join(root, 'package.json'))
  const from = require.resolve('onnxruntime-node').split('onnxruntime-node')[0]!
  const platform = `linux-${arch}`
  const packages = ['onnxruntime-common', 'onnxruntime-node', 'sharp', 'detect-libc', 'semver', '@img/colour']
  const foreign = /onnxruntime-node[\\/]bin[\\/]napi-v6[\\/](?!linux$|linux[\\/])/
  const otherCpu = new RegExp(`napi-v6[\\\\/]linux[\\\\/](?!${arch})`)
  for (const name of [...packages, `@img/sharp-${platform}`, `@img/sharp-libvips-${platform}`])
    cpSync(join(from, name), join(to, name), {
      recursive: true,
      filter: (path) => !foreign.test(path) && !otherCpu.test(path),
    })
}
