import { AppError } from './errors.ts'

/**
 * The promise, or DEADLINE when it has not settled by then. Whatever runs goes on running: JavaScript cannot stop it,
 * but the caller has an answer and the next request works.
 */
export async function within<T>(deadline: number | undefined, where: string, work: () => T | Promise<T>): Promise<T> {
  if (deadline === undefined) return work()
  const late = () => new AppError('DEADLINE', { where })
  if (Date.now() >= deadline) throw late()
  let timer: NodeJS.Timeout | undefined
  const alarm = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), deadline - Date.now())
  })
  try {
    return await Promise.race([work(), alarm])
  } finally {
    clearTimeout(timer)
  }
}
