import { join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { STORAGES } from '../fit/demand.ts'
import { ARCHS, type Arch } from '../layers/definition.ts'
import { type Command, flag, many, one } from './command.ts'
import { localSource } from './s3.ts'

export const packageCommand: Command = {
  name: 'package',
  summary: 'Build Lambda layers and functions from model packages.',
  text: [
    'Imports and optimises each model, runs its golden requests, and refuses a package that no longer reproduces them.',
    'Writes layers/*.zip, functions/*.zip and modelayer.json; two builds of the same input are identical.',
  ].join('\n'),
  args: [{ name: '<package...>', text: 'folders, name@version, or s3:// prefixes' }],
  options: [
    { flags: '-o, --output <dir>', text: 'where the zips go', required: true },
    {
      flags: '--arch <arch>',
      text: 'arm64 or x64, may be repeated (default: both)',
      repeat: true,
    },
    { flags: '--version <n>', text: 'which version, where there are several (default: the newest)' },
    {
      flags: '--storage <where>',
      text: 'where models go: auto moves what does not fit into layers',
      default: 'auto',
      choices: [...STORAGES],
    },
    { flags: '--no-image', text: 'leave the image layer out: no hook reads images' },
  ],
  examples: [
    'modelayer package examples/mnist -o dist',
    'modelayer package examples/mnist examples/iris -o dist --arch arm64',
    'modelayer package examples/mnist -o dist --storage s3',
  ],
  async run(input, io) {
    const { openAny } = await import('../package/open.ts')
    const { silenceTelemetry } = await import('../../src/boot.ts')
    const { pack } = await import('../layers/pack.ts')
    const { budgetTable } = await import('../layers/budget.ts')
    const { imageCommands } = await import('../layers/image.ts')
    const { planTable } = await import('../fit/table.ts')
    silenceTelemetry()
    const storage = STORAGES.find((s) => s === one(input, 'storage'))
    const arch = [...new Set(many(input, 'arch'))].map(known)
    const packages = []
    for (const source of input.args)
      packages.push(await openAny(await localSource(source, io), { version: one(input, 'version') }))
    const { index, budgets, golden, plan } = await pack(packages, {
      out: one(input, 'output')!,
      ...(arch.length > 0 && { arch }),
      image: flag(input, 'image'),
      fit: { storage, efs: storage === 'efs' },
      reporter: io,
    })
    const commands = Object.entries(index.images ?? {}).map(([a, dir]) =>
      imageCommands(join(one(input, 'output')!, dir), known(a)).join('\n'),
    )
    io.result(
      { ...index, budgets, golden: golden.length },
      [budgetTable(budgets), planTable(plan), ...commands].join('\n\n'),
    )
    return 0
  },
}

function known(name: string): Arch {
  const arch = ARCHS.find((a) => a === name)
  if (arch) return arch
  throw new AppError('USAGE', { where: '--arch', expected: ARCHS.join(' or '), got: `'${name}'` })
}
