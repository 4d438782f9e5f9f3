import assert from 'node:assert/strict'
import { isAppError } from '../src/errors.ts'

/** For assert.throws and assert.rejects: our own error with this code, and these words in its message. */
export const refused =
  (code: string, ...words: string[]) =>
  (e: unknown) => {
    assert.ok(isAppError(e), String(e))
    assert.equal(e.code, code, e.message)
    for (const w of words) assert.ok(e.message.includes(w), `'${w}' in: ${e.message}`)
    return true
  }
