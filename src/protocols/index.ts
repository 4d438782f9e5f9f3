import { modelarts } from './modelarts.ts'
import type { Protocol } from './protocol.ts'

/** The first row that matches a request answers it; the first of all answers what none knows. */
export const PROTOCOLS: readonly Protocol[] = [modelarts]
