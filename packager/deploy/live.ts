import type { FunctionEntry } from '../layers/dist.ts'
import { goldenResources } from './golden.ts'
import type { DeployOptions } from './options.ts'
import { type Released, shiftResources } from './release.ts'
import { aliasResource, type Json, type Resources } from './resources.ts'

/** What the endpoint and the queue call: a version, so that going back is pointing it elsewhere. */
export const LIVE = 'live'

/** The functions whose versions are released, and the logical ids of their aliases. */
export const RELEASED = { predict: 'PredictLiveAlias', batch: 'BatchLiveAlias' } as const
export type ReleasedName = keyof typeof RELEASED

export interface Release {
  readonly versions: Readonly<Partial<Record<ReleasedName, Released>>>
  /** the function that sends golden requests, where there are any */
  readonly golden: FunctionEntry | undefined
  readonly goldenName: string
  readonly bucket: Json
}

/** A version is checked, then the aliases move. Both functions run the same models, so one check is for both. */
export function releaseResources(resources: Resources, release: Release, o: DeployOptions): void {
  const { versions, golden, goldenName, bucket } = release
  const { predict, batch } = versions
  // a version that was refused does not stay, so that going back never means one
  for (const { versionId } of Object.values(versions)) {
    const version = resources[versionId]
    if (version) resources[versionId] = { ...version, DeletionPolicy: 'RetainExceptOnCreate' }
  }
  if (predict)
    resources[RELEASED.predict] = aliasResource(predict.functionId, predict.versionId, LIVE, o.concurrency.provisioned)
  if (batch) resources[RELEASED.batch] = aliasResource(batch.functionId, batch.versionId, LIVE)
  if (!predict) return
  if (golden) {
    const { functionId, versionId } = predict
    const aliasIds = Object.values(RELEASED)
    goldenResources(resources, golden, { functionName: goldenName, bucket, functionId, versionId, aliasIds }, o)
  }
  shiftResources(resources, o.release, predict, o.http)
}
