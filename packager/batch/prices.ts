/**
 * List prices in dollars, first tier, without the free tier, as read on the day below from the price pages of Lambda, S3, SQS and
 * Step Functions (aws.amazon.com/SERVICE/pricing). Nothing is fetched: put yours here where they differ.
 */
export const PRICES_AS_OF = '2026-11-20'

export interface Prices {
  /** per GB-second */
  readonly lambda: { readonly x64: number; readonly arm64: number }
  readonly lambdaRequest: number
  /** PUT, POST, COPY, LIST */
  readonly s3Write: number
  /** GET, HEAD */
  readonly s3Read: number
  readonly sqsRequest: number
  /** of a standard workflow */
  readonly transition: number
}

const common: Prices = {
  lambda: { x64: 0.0000166667, arm64: 0.0000133334 },
  lambdaRequest: 0.2 / 1e6,
  s3Write: 0.005 / 1e3,
  s3Read: 0.0004 / 1e3,
  sqsRequest: 0.4 / 1e6,
  transition: 0.025 / 1e3,
}

const PRICES: Readonly<Record<string, Prices>> = {
  'us-east-1': common,
  'us-east-2': common,
  'us-west-2': common,
  'eu-west-1': common,
  'eu-central-1': { ...common, s3Write: 0.0054 / 1e3, s3Read: 0.00043 / 1e3 },
}

const FALLBACK = 'us-east-1'

/** `of` names the region whose prices these are: not the one asked for where that one is not in the table. */
export function pricesOf(region: string | undefined): { readonly of: string; readonly prices: Prices } {
  const of = region !== undefined && Object.hasOwn(PRICES, region) ? region : FALLBACK
  return { of, prices: PRICES[of]! }
}
