import { modelarts } from './modelarts.ts'
import { oip } from './oip.ts'
import type { Protocol } from './protocol.ts'
import { sagemaker } from './sagemaker.ts'
import { tfserving } from './tfserving.ts'

/** The first row that matches a request answers it; the first of all answers what none knows. */
export const PROTOCOLS: readonly Protocol[] = [modelarts, tfserving, oip, sagemaker]
