import type { LambdaClient } from '@aws-sdk/client-lambda'
import { AppError } from '../../src/errors.ts'

export interface Version {
  readonly version: string
  /** ISO 8601 */
  readonly published: string
  readonly description: string
}

export interface Alias {
  readonly version: string
  /** versions that get a share of the traffic beside it */
  readonly shares: Readonly<Record<string, number>>
  readonly revision: string | undefined
}

/** The published versions of one function, and the alias that says which of them is called. */
export interface Releases {
  /** oldest first */
  versions(): Promise<Version[]>
  alias(): Promise<Alias>
  move(from: Alias, version: string): Promise<void>
}

const NEEDS = 'lambda:GetAlias, lambda:ListVersionsByFunction and lambda:UpdateAlias'

/** Lambda by the AWS SDK, with the endpoint and credentials of the environment. */
export async function connectReleases(FunctionName: string, Name: string, region?: string): Promise<Releases> {
  const sdk = await import('@aws-sdk/client-lambda')
  const client = new sdk.LambdaClient({ ...(region !== undefined && { region }) })
  const call = <T>(work: (client: LambdaClient) => Promise<T>) =>
    work(client).catch((e) => refused(e, FunctionName, Name))
  return {
    versions: () =>
      call(async () => {
        const found: Version[] = []
        for await (const page of sdk.paginateListVersionsByFunction({ client }, { FunctionName }))
          for (const { Version = '', LastModified = '', Description = '' } of page.Versions ?? [])
            if (/^\d+$/.test(Version))
              found.push({ version: Version, published: LastModified, description: Description })
        return found.sort((a, b) => Number(a.version) - Number(b.version))
      }),
    alias: () =>
      call(async () => {
        const { FunctionVersion, RoutingConfig, RevisionId } = await client.send(
          new sdk.GetAliasCommand({ FunctionName, Name }),
        )
        return {
          version: FunctionVersion ?? '',
          shares: RoutingConfig?.AdditionalVersionWeights ?? {},
          revision: RevisionId,
        }
      }),
    // shares go with it; the revision says that nobody moved it meanwhile
    move: ({ revision }, FunctionVersion) =>
      call(async () => {
        const RoutingConfig = { AdditionalVersionWeights: {} }
        await client.send(
          new sdk.UpdateAliasCommand({ FunctionName, Name, FunctionVersion, RoutingConfig, RevisionId: revision }),
        )
      }),
  }
}

/** name of what the SDK throws → what to do */
const ADVICE: Readonly<Record<string, string>> = {
  AccessDeniedException: `The credentials need ${NEEDS} on the function.`,
  CredentialsProviderError: 'Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
  ExpiredTokenException: 'The credentials have expired: sign in again.',
  UnrecognizedClientException: 'The credentials are not known: check AWS_PROFILE and the region.',
  PreconditionFailedException: 'Somebody moved the alias meanwhile: look at it, and start again.',
  TooManyRequestsException: 'Start again in a minute.',
}

function refused(e: unknown, functionName: string, alias: string): never {
  const { name, message, code } = e as Error & { code?: string }
  if (name === 'ResourceNotFoundException')
    throw new AppError('NO_RELEASE', {
      where: functionName,
      expected: `a deployed function with the alias ${alias}`,
      got: message,
      fix: 'Check name, stage and region.',
      cause: e,
    })
  throw new AppError('AWS_REFUSED', {
    where: functionName,
    got: [name, code, message].filter((s) => s !== undefined && s !== '').join(': '),
    fix: ADVICE[name],
    cause: e,
  })
}
