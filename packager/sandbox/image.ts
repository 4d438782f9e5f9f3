import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../src/errors.ts'

/** What the lines of a Dockerfile put where: the sandbox boots the same files without Docker. @throws {AppError} BAD_ARTIFACT */
export function imageOptions(context: string, name: string): { layers: string[]; function: string; handler: string } {
  const file = join(context, 'Dockerfile')
  const lines = readFileSync(file, 'utf8').split('\n')
  const copied = (target: string): string => {
    const found = lines.map((l) => l.split(' ')).find(([word, , to]) => word === 'COPY' && to === target)
    if (found) return join(context, found[1]!)
    throw new AppError('BAD_ARTIFACT', { where: file, expected: `a line COPY FOLDER ${target}`, got: 'none' })
  }
  const command = lines.flatMap((l) => /^CMD \["([^"]+)"\]$/.exec(l)?.[1] ?? [])[0]
  if (!command) throw new AppError('BAD_ARTIFACT', { where: file, expected: 'a line CMD ["HANDLER"]', got: 'none' })
  return {
    layers: [copied('/opt/')],
    function: copied('/var/task/'),
    // one image serves both functions; a deployment overrides the command for the other
    handler: command.replace(/^[^.]+/, name),
  }
}
