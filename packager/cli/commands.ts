import type { Command } from './command.ts'
import { validate } from './validate.ts'

/** Every command, in the order of --help. */
export const COMMANDS: readonly Command[] = [validate]
