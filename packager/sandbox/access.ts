import { randomBytes } from 'node:crypto'
import { AppError } from '../../src/errors.ts'
import type { HttpOptions } from '../deploy/options.ts'
import { apiKeyGate } from './front/apikey.ts'
import { type Gate, open } from './front/gate.ts'
import { iamGate } from './front/iam.ts'
import { jwtGate } from './front/jwt.ts'

/** Who gets in, what curl needs for it, and what to say at the start. */
export interface Access {
  readonly gate: Gate
  readonly flags: readonly string[]
  readonly notes: readonly string[]
}

export const ACCOUNT = '123456789012'

/** Keys made for one run: they open nothing but this machine's sandbox. */
const fresh = (bytes: number) => randomBytes(bytes).toString('hex')

const ACCESS = {
  none: async () => ({ gate: open, flags: [], notes: ['Everybody may call it, as http.auth: none says.'] }),
  iam: async ({ api }, region) => {
    const credentials = { accessKeyId: `AKIASANDBOX${fresh(5).toUpperCase()}`, secretAccessKey: fresh(20) }
    const service = api === 'url' ? 'lambda' : 'execute-api'
    return {
      gate: iamGate({ credentials, region, service, accountId: ACCOUNT }),
      flags: [
        `--aws-sigv4 aws:amz:${region}:${service}`,
        `--user ${credentials.accessKeyId}:${credentials.secretAccessKey}`,
      ],
      notes: [`AWS_ACCESS_KEY_ID=${credentials.accessKeyId} AWS_SECRET_ACCESS_KEY=${credentials.secretAccessKey}`],
    }
  },
  jwt: async ({ issuer, audience }) => {
    if (issuer === undefined || audience === undefined)
      throw new AppError('USAGE', { where: 'http', expected: 'issuer and audience', got: 'none' })
    return {
      gate: jwtGate({ issuer, audience }),
      flags: ['-H "authorization: Bearer $TOKEN"'],
      notes: [`Tokens of ${issuer} for ${audience.join(', ')} are verified with its published keys.`],
    }
  },
  apiKey: async () => {
    const key = fresh(20)
    return { gate: apiKeyGate({ id: 'sandbox', key }), flags: [`-H 'x-api-key: ${key}'`], notes: [`API key: ${key}`] }
  },
} as const satisfies Record<HttpOptions['auth'], (o: HttpOptions, region: string) => Promise<Access>>

export const accessOf = (o: HttpOptions, region: string): Promise<Access> => ACCESS[o.auth](o, region)
