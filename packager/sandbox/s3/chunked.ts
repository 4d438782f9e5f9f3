/**
 * The body of an upload as the AWS SDKs and the AWS command line send it: chunks with their sizes, signatures and a checksum
 * at the end, of which only the bytes are wanted here. Undefined where it is cut off.
 */
export function unchunk(body: Buffer): Buffer | undefined {
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const end = body.indexOf('\r\n', at)
    const size = end < 0 ? undefined : /^([0-9a-f]{1,8})(;.*)?$/i.exec(body.toString('latin1', at, end))?.[1]
    if (size === undefined) return undefined
    const length = Number.parseInt(size, 16)
    if (length === 0) return Buffer.concat(parts)
    const start = end + 2
    if (start + length + 2 > body.length) return undefined
    parts.push(body.subarray(start, start + length))
    at = start + length + 2
  }
}
