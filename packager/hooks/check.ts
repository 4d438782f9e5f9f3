import { AppError, isAppError } from '../../src/errors.ts'
import * as api from '../../src/index.ts'
import { loadHooks } from '../../src/loadhooks.ts'
import { type Finding, finding } from '../package/findings.ts'
import type { HookSource } from '../package/types.ts'
import { bundleHooks, type HookBundle } from './bundle.ts'
import { typeCheck } from './types.ts'

/** What can be said about hooks before anything is deployed: they bundle, load, have the right shape and the right types. */
export async function inspectHooks(
  pkg: HookSource,
  outFile: string,
): Promise<{ bundle?: HookBundle; findings: Finding[] }> {
  const file = pkg.hooksFile?.slice(pkg.modelDir.length + 1)
  const findings = await typeCheck(pkg)
  try {
    const bundle = await bundleHooks(pkg, outFile)
    findings.push(...bundle.warnings.map((got) => finding('HOOKS_WARNING', { file, got })))
    loadHooks(outFile, api)
    return { bundle, findings }
  } catch (e) {
    if (!isAppError(e)) throw e
    const { expected, got = e.message, fix } = e.details
    return { findings: [finding('HOOKS_INVALID', { file, expected, got, fix }), ...findings] }
  }
}

/** The same as a gate: the bundle is in `outFile` afterwards, or there is an error with every finding. */
export async function buildHooks(pkg: HookSource, outFile: string): Promise<HookBundle & { findings: Finding[] }> {
  const { bundle, findings } = await inspectHooks(pkg, outFile)
  const errors = findings.filter((f) => f.severity === 'error')
  if (bundle && errors.length === 0) return { ...bundle, findings }
  const got = errors.map((f) => `\n  ${[f.file, f.line, f.column].filter(Boolean).join(':')} ${f.message}`).join('')
  throw new AppError('BAD_HOOKS', { where: pkg.hooksFile, got: got.replace(/\.$/, ''), data: { findings } })
}
