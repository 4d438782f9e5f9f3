import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, one } from './command.ts'
import { localSource } from './s3.ts'

export const validate: Command = {
  name: 'validate',
  summary: 'Check a model package: config.json, hooks, model file, golden requests.',
  text: 'All findings at once, each with its place, what was expected, and the ModelArts code of the same fault.',
  args: [{ name: '<package...>', text: 'folders, name@version, or s3:// prefixes' }],
  options: [{ flags: '--version <n>', text: 'which version, where there are several (default: the newest)' }],
  examples: ['modelayer validate examples/mnist', 'modelayer validate --json s3://bucket/models/mnist@2'],
  async run(input, io) {
    const { inspectPackage } = await import('../package/open.ts')
    const { countFindings, formatFinding, hasErrors } = await import('../package/findings.ts')
    const { inspectHooks } = await import('../hooks/check.ts')
    const { inspectGolden } = await import('../verify/golden-file.ts')
    const packages = []
    for (const source of input.args) {
      const path = await localSource(source, io)
      const { pkg, hooks, findings, goldenDir, name, version } = inspectPackage(path, {
        version: one(input, 'version'),
      })
      if (hooks) {
        const dir = mkdtempSync(join(tmpdir(), 'modelayer-hooks-'))
        try {
          const check = () => inspectHooks(hooks, join(dir, 'customize_service.js'))
          findings.push(...(await io.step(`Check the hooks of ${name}`, check)).findings)
        } finally {
          rmSync(dir, { recursive: true, force: true })
        }
      }
      if (goldenDir) findings.push(...inspectGolden(goldenDir))
      packages.push({ source, name, version, model: pkg?.model.kind, ok: !hasErrors(findings), findings })
    }
    const text = packages.flatMap((p) => [
      `${p.name} version ${p.version}: ${countFindings(p.findings)}`,
      ...p.findings.map((f) => `  ${formatFinding(f)}`),
    ])
    io.result({ packages }, text.join('\n'))
    return packages.every((p) => p.ok) ? 0 : 1
  },
}
