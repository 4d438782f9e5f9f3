import { createHash, createHmac } from 'node:crypto'

/** Node's own, in the shape that signers of AWS ask for. */
export class Sha256 {
  private readonly hash
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as string)
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.hash.update(data as string)
  }
  async digest(): Promise<Uint8Array> {
    return this.hash.digest()
  }
  reset(): void {
    throw new Error('A hash is used once.')
  }
}
