import { AppError } from './errors.ts'
import type { Manifest } from './manifest.ts'

/** Names of versions that requests may use instead, by model: `{ mnist: { stable: '1', canary: '2' } }` */
export type Labels = Readonly<Record<string, Readonly<Record<string, string>>>>

/** `mnist/stable=1,mnist/canary=2` @throws {AppError} USAGE */
export function parseLabels(text: string | readonly string[]): Labels {
  const labels: Record<string, Record<string, string>> = {}
  for (const one of (typeof text === 'string' ? text.split(',') : text).map((s) => s.trim()).filter((s) => s !== '')) {
    const [, model, label, version] = /^([\w-]+)\/(\w+)=([\w.-]+)$/.exec(one) ?? []
    if (model === undefined || label === undefined || version === undefined)
      throw new AppError('USAGE', { where: 'labels', expected: 'MODEL/LABEL=VERSION', got: one.slice(0, 80) })
    labels[model] = { ...labels[model], [label]: version }
  }
  return labels
}

/** A label of nothing would only be found out by the request that uses it. @throws {AppError} LOAD_FAILED */
export function checkLabels(labels: Labels, manifests: readonly Manifest[]): void {
  for (const [model, named] of Object.entries(labels)) {
    const versions = manifests.filter((m) => m.model === model).map((m) => m.version)
    for (const [label, version] of Object.entries(named))
      if (!versions.includes(version))
        throw new AppError('LOAD_FAILED', {
          where: `label ${model}/${label}`,
          expected: versions.length > 0 ? `version ${versions.join(' or ')}` : 'a model that is there',
          got: `version ${version}`,
        })
  }
}
