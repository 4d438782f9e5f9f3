import type { FunctionEntry, LayerEntry } from '../layers/dist.ts'
import type { BatchOptions, DeployOptions, HttpOptions, S3Place } from './options.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
export type Resources = Record<string, { readonly Type: string; readonly [key: string]: Json }>

/** What each function may do: an action on a resource, nothing with a wildcard for all of a service. */
export type Statement = {
  readonly Effect: 'Allow'
  readonly Action: readonly string[]
  readonly Resource: Json
  readonly Condition?: Json
}

export const allow = (Action: readonly string[], Resource: Json): Statement => ({ Effect: 'Allow', Action, Resource })

export const LAMBDA_ARCH = { arm64: 'arm64', x64: 'x86_64' } as const

const id = (s: string) =>
  s
    .replace(/[^A-Za-z0-9]+(.)?/g, (_, c: string | undefined) => c?.toUpperCase() ?? '')
    .replace(/^./, (c) => c.toUpperCase())

/** The key names the content, so that a layer which did not change is neither uploaded nor published again. */
export const layerKey = (layer: LayerEntry): string => `modelayer/layers/${layer.name}-${layer.sha256}.zip`
export const functionKey = (f: FunctionEntry): string => `modelayer/functions/${f.name}-${f.sha256}.zip`
export const layerId = (layer: LayerEntry): string => `${id(layer.name)}Layer${layer.sha256.slice(0, 12)}`

/** Likewise: a function is updated when its own code changed, and not because another's did. */
export function functionCode(resources: Resources, logicalId: string, f: FunctionEntry): void {
  const resource = resources[logicalId]
  if (!resource) return
  const properties = resource.Properties as { readonly [key: string]: Json }
  const code = properties.Code as { readonly [key: string]: Json }
  resources[logicalId] = { ...resource, Properties: { ...properties, Code: { ...code, S3Key: functionKey(f) } } }
}

/** Functions keep the layers they were published with, also when those are deleted: nothing needs to be retained. */
export function layerResources(
  layers: readonly LayerEntry[],
  bucket: Json,
  o: DeployOptions,
  service: string,
): Resources {
  return Object.fromEntries(
    layers.map((layer) => [
      layerId(layer),
      {
        Type: 'AWS::Lambda::LayerVersion',
        Properties: {
          LayerName: `${service}-${layer.name}`,
          Description: `${layer.name}, content ${layer.sha256.slice(0, 12)}`,
          Content: { S3Bucket: bucket, S3Key: layerKey(layer) },
          CompatibleArchitectures: layer.arch ? [LAMBDA_ARCH[layer.arch]] : Object.values(LAMBDA_ARCH),
          CompatibleRuntimes: [o.runtime],
        },
      },
    ]),
  )
}

export const aliasResource = (
  functionId: string,
  versionId: string,
  name: string,
  provisioned?: number,
): Resources[string] => ({
  Type: 'AWS::Lambda::Alias',
  Properties: {
    FunctionName: { Ref: functionId },
    FunctionVersion: { 'Fn::GetAtt': [versionId, 'Version'] },
    Name: name,
    ...(provisioned !== undefined && {
      ProvisionedConcurrencyConfig: { ProvisionedConcurrentExecutions: provisioned },
    }),
  },
})

const logs = (name: string): Statement => ({
  Effect: 'Allow',
  Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
  Resource: {
    'Fn::Sub': `arn:\${AWS::Partition}:logs:\${AWS::Region}:\${AWS::AccountId}:log-group:/aws/lambda/${name}:*`,
  },
})

/** Neither service knows permissions on single resources, so these two alone are for all of them. */
export function wideStatements({ tracing, vpc }: Pick<DeployOptions, 'tracing' | 'vpc'>): Statement[] {
  const found: (readonly [boolean, readonly string[]])[] = [
    [tracing, ['xray:PutTraceSegments', 'xray:PutTelemetryRecords']],
    [
      vpc !== undefined,
      [
        'ec2:CreateNetworkInterface',
        'ec2:DescribeNetworkInterfaces',
        'ec2:DescribeSubnets',
        'ec2:DeleteNetworkInterface',
        'ec2:AssignPrivateIpAddresses',
        'ec2:UnassignPrivateIpAddresses',
      ],
    ],
  ]
  return found.filter(([wanted]) => wanted).map(([, Action]) => ({ Effect: 'Allow', Action, Resource: '*' }))
}

export const keyStatements = (kmsKey: string | undefined): Statement[] =>
  kmsKey === undefined ? [] : [{ Effect: 'Allow', Action: ['kms:Decrypt'], Resource: kmsKey }]

/** Of a function, with its own log group. */
export const roleResource = (functionName: string, statements: readonly Statement[]): Resources[string] =>
  roleOf('lambda', [logs(functionName), ...statements])

/** Of a service that acts for this account alone. */
export const serviceRole = (service: string, statements: readonly Statement[]): Resources[string] =>
  roleOf(service, statements, { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } })

function roleOf(service: string, statements: readonly Statement[], Condition?: Json): Resources[string] {
  const trust = { Effect: 'Allow', Principal: { Service: `${service}.amazonaws.com` }, Action: 'sts:AssumeRole' }
  const Version = '2012-10-17'
  return {
    Type: 'AWS::IAM::Role',
    Properties: {
      AssumeRolePolicyDocument: { Version, Statement: [{ ...trust, ...(Condition !== undefined && { Condition }) }] },
      Policies: [{ PolicyName: 'own', PolicyDocument: { Version, Statement: [...statements] } }],
    },
  }
}

export const bucketArn = (p: S3Place): Json => ({ 'Fn::Sub': `arn:\${AWS::Partition}:s3:::${p.bucket}` })
export const objectsArn = (p: S3Place): Json => ({ 'Fn::Sub': `arn:\${AWS::Partition}:s3:::${p.bucket}/${p.prefix}*` })

export function batchStatements({ input, output }: { input: S3Place; output: S3Place }): Statement[] {
  return [
    { Effect: 'Allow', Action: ['s3:GetObject', 's3:GetObjectVersion'], Resource: objectsArn(input) },
    {
      Effect: 'Allow',
      Action: [
        's3:GetObject',
        's3:PutObject',
        's3:DeleteObject',
        's3:AbortMultipartUpload',
        's3:ListMultipartUploadParts',
      ],
      Resource: objectsArn(output),
    },
    { Effect: 'Allow', Action: ['s3:ListBucket'], Resource: [bucketArn(input), bucketArn(output)] },
    {
      Effect: 'Allow',
      Action: [
        'sqs:ReceiveMessage',
        'sqs:DeleteMessage',
        'sqs:GetQueueAttributes',
        'sqs:ChangeMessageVisibility',
        // what only needs more time goes out anew
        'sqs:SendMessage',
      ],
      Resource: { 'Fn::GetAtt': ['BatchQueue', 'Arn'] },
    },
  ]
}

/**
 * Lambda stops a function after some 16 messages that it sent to itself. Here that is a long object which goes on, and it ends: a
 * message goes out anew only where the object moved on, or another process has it.
 */
export function allowLoop(resources: Resources, functionId: string): void {
  const resource = resources[functionId]
  if (!resource) return
  resources[functionId] = { ...resource, Properties: { ...(resource.Properties as object), RecursiveLoop: 'Allow' } }
}

/** Buckets that stay, private and over TLS only; a queue between them and the function, and one for what cannot be done. */
export function batchResources({ input, output, timeout, onRemove, options }: BatchOptions): Resources {
  const same = input.bucket === output.bucket
  const out: Resources = {
    BatchDeadLetters: {
      Type: 'AWS::SQS::Queue',
      Properties: { MessageRetentionPeriod: 1_209_600, SqsManagedSseEnabled: true },
    },
    BatchQueue: {
      Type: 'AWS::SQS::Queue',
      Properties: {
        // six times the function's timeout, as AWS advises, so that a message is not seen twice while it is worked on; the function
        // shortens it for what it gives back
        VisibilityTimeout: 6 * timeout,
        SqsManagedSseEnabled: true,
        RedrivePolicy: {
          deadLetterTargetArn: { 'Fn::GetAtt': ['BatchDeadLetters', 'Arn'] },
          maxReceiveCount: options.maxReceives,
        },
      },
    },
    BatchQueuePolicy: {
      Type: 'AWS::SQS::QueuePolicy',
      Properties: {
        Queues: [{ Ref: 'BatchQueue' }],
        PolicyDocument: {
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Principal: { Service: 's3.amazonaws.com' },
              Action: 'sqs:SendMessage',
              Resource: { 'Fn::GetAtt': ['BatchQueue', 'Arn'] },
              Condition: {
                ArnEquals: { 'aws:SourceArn': bucketArn(input) },
                StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } },
              },
            },
          ],
        },
      },
    },
    ...bucketResources('BatchInput', input, onRemove, {
      NotificationConfiguration: {
        QueueConfigurations: [
          {
            Event: 's3:ObjectCreated:*',
            Queue: { 'Fn::GetAtt': ['BatchQueue', 'Arn'] },
            Filter: { S3Key: { Rules: [{ Name: 'prefix', Value: input.prefix }] } },
          },
        ],
      },
    }),
  }
  return same ? out : { ...out, ...bucketResources('BatchOutput', output, onRemove, {}) }
}

export function bucketResources(
  name: string,
  p: S3Place,
  onRemove: BatchOptions['onRemove'],
  more: Record<string, Json>,
): Resources {
  const policy = onRemove === 'keep' ? 'Retain' : 'Delete'
  return {
    [`${name}Bucket`]: {
      Type: 'AWS::S3::Bucket',
      DeletionPolicy: policy,
      UpdateReplacePolicy: policy,
      ...(more.NotificationConfiguration !== undefined && { DependsOn: 'BatchQueuePolicy' }),
      Properties: {
        BucketName: p.bucket,
        BucketEncryption: {
          ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
        },
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        // what runs left behind that were never finished
        LifecycleConfiguration: {
          Rules: [{ Id: 'uploads', Status: 'Enabled', AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } }],
        },
        ...more,
      },
    },
    [`${name}BucketPolicy`]: {
      Type: 'AWS::S3::BucketPolicy',
      Properties: {
        Bucket: { Ref: `${name}Bucket` },
        PolicyDocument: {
          Version: '2012-10-17',
          Statement: [
            {
              Sid: 'TlsOnly',
              Effect: 'Deny',
              Principal: '*',
              Action: 's3:*',
              Resource: [bucketArn(p), { 'Fn::Sub': `arn:\${AWS::Partition}:s3:::${p.bucket}/*` }],
              Condition: { Bool: { 'aws:SecureTransport': 'false' } },
            },
          ],
        },
      },
    },
  }
}

/** osls states dependencies that references imply already, and linters complain of each. */
export function dropRedundantDependencies(resources: Resources): void {
  for (const [name, r] of Object.entries(resources)) {
    if (r.DependsOn === undefined) continue
    const text = JSON.stringify({ ...r, DependsOn: undefined })
    const kept = [r.DependsOn]
      .flat()
      .filter((d) => !text.includes(`{"Ref":"${String(d)}"}`) && !text.includes(`{"Fn::GetAtt":["${String(d)}",`))
    const { DependsOn: _, ...rest } = r
    resources[name] = { ...rest, Type: r.Type, ...(kept.length > 0 && { DependsOn: kept as string[] }) }
  }
}

/** osls has no word for it; the keys of a REST API are throttled by their usage plan. */
export function throttle(resources: Resources, { api, throttle: limit }: HttpOptions): void {
  const stage = resources.HttpApiStage
  if (!limit || api !== 'http' || !stage) return
  const DefaultRouteSettings = { ThrottlingRateLimit: limit.rate, ThrottlingBurstLimit: limit.burst }
  resources.HttpApiStage = { ...stage, Properties: { ...(stage.Properties as object), DefaultRouteSettings } }
}
