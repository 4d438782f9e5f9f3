import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { importSource } from '../../packager/import.ts'
import { writeModel } from '../../packager/onnx/write.ts'
import { createSession } from '../../src/session.ts'
import { tensor } from '../../src/tensor.ts'

// Tables that a model filled before it was saved: their content is in the checkpoint, found through the restore op, or in a file.
const folder = join(import.meta.dirname, '../fixtures/tables')
const answers: Record<string, { inputs: string[]; found: unknown[]; size: number }> = JSON.parse(
  readFileSync(join(folder, 'answers.json'), 'utf8'),
)
const scratch = mkdtempSync(join(tmpdir(), 'tables-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

for (const [name, { inputs, found, size }] of Object.entries(answers))
  test(`a ${name} table is read from the model`, async () => {
    const imported = (await importSource(join(folder, name))).import('serving_default')
    if (imported.kind !== 'graph') return assert.fail('no graph')
    const dir = mkdtempSync(join(scratch, name))
    writeModel(join(dir, 'model.onnx'), imported.graph, '0')
    const session = await createSession(dir, { graph: 'model.onnx', ...imported.signature })
    try {
      const out = await session.run({ x: tensor('string', [inputs.length], inputs) })
      assert.deepEqual(Array.from(out.found!.data as ArrayLike<number | bigint>, Number), found.flat())
      assert.equal(Number(out.size!.data[0]), size)
    } finally {
      await session.close()
    }
  })
