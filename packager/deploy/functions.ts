import { observeEnvironment, predictEnvironment } from './observe.ts'
import type { DeployOptions, HttpOptions, S3Place } from './options.ts'
import { type Json, LAMBDA_ARCH } from './resources.ts'

/** What an endpoint asks of osls: events of the function, the address of its own, and settings all functions share. */
export interface Endpoint {
  readonly events?: readonly object[]
  readonly url?: object
  readonly environment?: Readonly<Record<string, string>>
  readonly httpApi?: object
  readonly apiGateway?: object
  readonly logs?: object
}

const keyName = (service: string) => `${service}-client`

const PATHS = ['/', '/{proxy+}']
const IAM = { type: 'aws_iam' }

const ENDPOINTS = {
  http: ({ auth, issuer, audience, cors, accessLogs }) => {
    const authorizer = { iam: IAM, jwt: { name: 'modelayerJwt' }, apiKey: undefined, none: undefined }[auth]
    const jwt = { type: 'jwt', identitySource: '$request.header.Authorization', issuerUrl: issuer, audience }
    return {
      events: PATHS.map((path) => ({ httpApi: { method: '*', path, ...(authorizer && { authorizer }) } })),
      httpApi: { ...(cors && { cors }), ...(auth === 'jwt' && { authorizers: { modelayerJwt: jwt } }) },
      ...(accessLogs && { logs: { httpApi: true } }),
    }
  },
  rest: ({ auth, cors, accessLogs, stream, throttle }, service) => {
    const keyed = auth === 'apiKey'
    const limit = throttle && { throttle: { rateLimit: throttle.rate, burstLimit: throttle.burst } }
    const streaming = stream && { response: { transferMode: 'STREAM' } }
    const access = { ...(keyed && { private: true }), ...(auth === 'iam' && { authorizer: IAM }) }
    return {
      events: PATHS.map((path) => ({ http: { method: 'any', path, ...(cors && { cors }), ...access, ...streaming } })),
      // every body is bytes: images must arrive as they were sent
      apiGateway: {
        binaryMediaTypes: ['*/*'],
        ...(keyed && { apiKeys: [keyName(service)], ...(limit && { usagePlan: limit }) }),
      },
      // preflight is the gateway's; answers of a proxied function carry their own headers
      ...(cors && { environment: { MODELAYER_CORS: '1' } }),
      // the account's role for logs is set once by hand, not by a function that osls would deploy for it
      ...(accessLogs && {
        logs: { restApi: { accessLogging: true, executionLogging: false, roleManagedExternally: true } },
      }),
    }
  },
  url: ({ auth, cors, stream }) => ({
    url: {
      ...(auth === 'iam' && { authorizer: 'aws_iam' }),
      ...(cors && { cors }),
      ...(stream && { invokeMode: 'RESPONSE_STREAM' }),
    },
  }),
} as const satisfies Record<HttpOptions['api'], (o: HttpOptions, service: string) => Endpoint>

export const endpointOf = (o: HttpOptions, service: string): Endpoint => ENDPOINTS[o.api](o, service)

/** What curl needs to be let in; secrets stay in the environment of whoever calls. */
export function authFlags({ auth, api }: HttpOptions, region: string): string[] {
  const service = api === 'url' ? 'lambda' : 'execute-api'
  return {
    iam: [
      `--aws-sigv4 aws:amz:${region}:${service}`,
      '--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"',
      '-H "x-amz-security-token: $AWS_SESSION_TOKEN"',
    ],
    jwt: ['-H "authorization: Bearer $TOKEN"'],
    apiKey: ['-H "x-api-key: $API_KEY"'],
    none: [],
  }[auth]
}

/** What a function that is no function of osls has in common with those, in the words of CloudFormation. */
export const baseProperties = (o: DeployOptions): Readonly<Record<string, Json>> => ({
  Runtime: o.runtime,
  Architectures: [LAMBDA_ARCH[o.arch]],
  ...(Object.keys(o.tags).length > 0 && { Tags: Object.entries(o.tags).map(([Key, Value]) => ({ Key, Value })) }),
})

/** What both functions have in common, in the words of osls. */
function common(o: DeployOptions): object {
  const { securityGroups, subnets } = o.vpc ?? {}
  return {
    ...(o.container === undefined && { runtime: o.runtime }),
    architecture: LAMBDA_ARCH[o.arch],
    // a version for every change, whatever the service file says: `live` points at one
    versionFunction: true,
    memorySize: o.memory,
    logRetentionInDays: o.logDays,
    // ours are JSON anyway; a stricter level of Lambda's would drop the lines of metrics too
    logs: { logFormat: 'JSON', ...(o.logLevel === 'debug' && { applicationLogLevel: 'DEBUG' }) },
    ...(o.tracing && { tracing: 'Active' }),
    ...(o.kmsKey !== undefined && { kmsKeyArn: o.kmsKey }),
    ...(Object.keys(o.tags).length > 0 && { tags: o.tags }),
    ...(o.vpc && { vpc: { securityGroupIds: securityGroups, subnetIds: subnets } }),
  }
}

export interface FunctionPlace {
  /** of the stack, for logs, metrics and traces */
  readonly service: string
  readonly name: string
  readonly artifact: string
}

/** Its own zip, or the image that holds all functions. osls looks for a zip of the whole service unless a function says otherwise. */
const codeOf = ({ container }: DeployOptions, handler: string, artifact: string) =>
  container === undefined
    ? { handler, package: { individually: true, artifact } }
    : { image: { uri: container, command: [handler] } }

export function predictFunction(
  o: DeployOptions,
  { service, name, artifact }: FunctionPlace,
  endpoint: Endpoint | undefined,
) {
  const { reserved } = o.concurrency
  const { events = [], url, environment } = endpoint ?? {}
  return {
    ...common(o),
    ...codeOf(o, o.http?.stream ? 'predict.streamed' : 'predict.handler', artifact),
    name,
    role: 'PredictRole',
    timeout: o.timeout,
    events,
    ...(url && { url }),
    environment: { ...environment, ...observeEnvironment(o, service), ...predictEnvironment(o) },
    ...(reserved !== undefined && { reservedConcurrency: reserved }),
  }
}

export function batchFunction(o: DeployOptions, { service, name, artifact }: FunctionPlace) {
  const { batch } = o
  if (!batch) return undefined
  return {
    ...common(o),
    ...(batch.memory !== undefined && { memorySize: batch.memory }),
    ...codeOf(o, 'batch.handler', artifact),
    name,
    role: 'BatchRole',
    timeout: batch.timeout,
    environment: {
      ...observeEnvironment(o, service),
      MODELAYER_BATCH_INPUT: s3(batch.input),
      MODELAYER_BATCH_OUTPUT: s3(batch.output),
      MODELAYER_BATCH_OPTIONS: JSON.stringify(batch.options),
    },
    events: [
      {
        sqs: {
          arn: { 'Fn::GetAtt': ['BatchQueue', 'Arn'] },
          batchSize: 10,
          functionResponseType: 'ReportBatchItemFailures',
        },
      },
    ],
  }
}

const s3 = ({ bucket, prefix }: S3Place): string => `s3://${bucket}/${prefix}`
