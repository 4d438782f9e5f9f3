// Runs every test/**/*.test.ts with node's own runner, then says 'N passed, N failed' for whoever reads only the last line.
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
