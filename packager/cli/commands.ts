import { batch } from './batch.ts'
import type { Command } from './command.ts'
import { golden } from './golden.ts'
import { importCommand } from './import.ts'
import { packageCommand } from './package.ts'
import { predict } from './predict.ts'
import { rollback } from './rollback.ts'
import { run } from './run.ts'
import { serve } from './serve.ts'
import { show } from './show.ts'
import { validate } from './validate.ts'

/** Every command, in the order of --help. */
export const COMMANDS: readonly Command[] = [
  validate,
  importCommand,
  packageCommand,
  serve,
  predict,
  batch,
  show,
  run,
  golden,
  rollback,
]
