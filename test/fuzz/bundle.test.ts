import { describe } from 'node:test'
import { maskedCrc32c } from '../../src/crc32c.ts'
import { fuzzModels } from './models.ts'

const FOOTER = 48

/** Varints from `at` on. */
function varints(b: Buffer, at: number, count: number): number[] {
  const out: number[] = []
  for (let value = 0, scale = 1; out.length < count && at < b.length; at++) {
    value += (b[at]! & 127) * scale
    scale *= 128
    if (b[at]! < 128) {
      out.push(value)
      value = 0
      scale = 1
    }
  }
  return out
}

/** Gives the blocks of a damaged table the checksums of what they hold now, so that the damage is read. */
function withChecksums(b: Buffer): Buffer {
  const seal = (offset = 0, size = 0) => {
    if (offset + size + 5 > b.length - FOOTER) return
    b.writeUInt32LE(maskedCrc32c(b.subarray(offset, offset + size + 1)), offset + size + 1)
  }
  if (b.length <= FOOTER) return b
  const [, , indexAt = 0, indexSize = 0] = varints(b, b.length - FOOTER, 4)
  // the first entry of the index block: three lengths, a key, then where its block is
  const [, keyLength = 0] = varints(b, indexAt, 3)
  const [blockAt, blockSize] = varints(b, indexAt + 3 + keyLength, 2)
  seal(blockAt, blockSize)
  seal(indexAt, indexSize)
  return b
}

describe('damaged checkpoints', () =>
  fuzzModels([
    { model: 'tf2_module', file: 'variables/variables.index', runs: 60 },
    { model: 'tf2_module', file: 'variables/variables.index', runs: 150, mend: withChecksums },
    { model: 'tf2_module', file: 'variables/variables.data-00000-of-00001', runs: 60 },
    { model: 'tf1_partitioned', file: 'variables/variables.index', runs: 60 },
    { model: 'tf1_partitioned', file: 'variables/variables.index', runs: 200, mend: withChecksums },
    { model: 'tf1_checkpoint', file: 'model.ckpt.index', runs: 150, mend: withChecksums },
    { model: 'tf1_checkpoint', file: 'checkpoint', runs: 60 },
  ]))
