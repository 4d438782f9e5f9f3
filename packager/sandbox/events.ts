import { randomUUID } from 'node:crypto'

/** The event that an API Gateway HTTP API (payload format 2.0) sends for a request; a body arrives as base64, since it is binary. */
export function httpEvent(request: {
  readonly method?: string
  readonly path: string
  readonly contentType?: string
  readonly body?: Uint8Array
}): object {
  const { method = 'POST', path, contentType, body } = request
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: '',
    headers: {
      accept: '*/*',
      host: 'example.execute-api.eu-central-1.amazonaws.com',
      ...(contentType && { 'content-type': contentType }),
      ...(body && { 'content-length': String(body.length) }),
    },
    requestContext: {
      apiId: 'example',
      domainName: 'example.execute-api.eu-central-1.amazonaws.com',
      http: { method, path, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: 'modelayer' },
      requestId: randomUUID(),
      routeKey: '$default',
      stage: '$default',
      timeEpoch: Date.now(),
    },
    ...(body && { body: Buffer.from(body).toString('base64') }),
    isBase64Encoded: body !== undefined,
  }
}
