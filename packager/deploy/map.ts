import { MAP_RUNS } from '../../src/batch/names.ts'
import { BATCH_BYTES } from '../batch/plan.ts'
import type { BatchOptions, MapOptions } from './options.ts'
import { type Json, type Resources, type Statement, serviceRole } from './resources.ts'

/** Seconds after which objects that are open are asked for again: a lease that a crash left behind runs out after 60. */
const AGAIN_SECONDS = 15

/** What passes, and how patiently: each pause doubles, up to two minutes, and is drawn at random below that. */
const RETRY = [
  // there is no room for another environment, or Lambda is not well: whoever waits competes with those that begin, so patience is long
  [
    [
      'Lambda.TooManyRequestsException',
      'Lambda.ServiceException',
      'Lambda.AWSLambdaException',
      'Lambda.SdkClientException',
    ],
    100,
  ],
  // the function threw, ran out of time or memory, or its process ended; what is done stays done
  [['States.ALL'], 6],
].map(([ErrorEquals, MaxAttempts]) => ({
  ErrorEquals,
  IntervalSeconds: 2,
  BackoffRate: 2,
  MaxDelaySeconds: 120,
  JitterStrategy: 'FULL',
  MaxAttempts,
})) as Json

/** What CloudFormation fills in. */
const FUNCTION = `\${function}`
const integration = (name: string) => `arn:\${AWS::Partition}:states:::${name}`

/**
 * The state machine, in Amazon States Language: S3's listing in batches to the batch function. Its input may say `prefix`, `items`,
 * `concurrency` and `tolerated`, as `modelayer batch --dry-run` prints them; the rest is as deployed. A child asks again while objects
 * are open; where its attempts are used up, it asks a last time with the `error` it caught, and the function then counts as failed
 * what it still cannot do. Children are standard: they may last longer than five minutes, and cost less than express ones from a
 * minute and a half on (docs/scaling.md).
 */
export function mapDefinition({ input, output, timeout, map }: BatchOptions & { readonly map: MapOptions }): Json {
  const { logs: _, ...chosen } = map
  const defaults = JSON.stringify({ prefix: input.prefix, ...chosen })
  const answer = {
    Type: 'Task',
    Resource: integration('lambda:invoke'),
    Parameters: { FunctionName: FUNCTION, 'Payload.$': '$' },
    TimeoutSeconds: timeout + 60,
    ResultSelector: Object.fromEntries(
      ['open', 'tooMany', 'objects', 'records', 'results'].map((k) => [`${k}.$`, `$.Payload.${k}`]),
    ),
    ResultPath: '$.answer',
    Next: 'Open',
  }
  return {
    Comment: 'Every object below a prefix through the batch function',
    StartAt: 'Settings',
    States: {
      Settings: {
        Type: 'Pass',
        QueryLanguage: 'JSONata',
        Output: `{% $merge([${defaults}, $states.input]) %}`,
        Next: 'Objects',
      },
      Objects: {
        Type: 'Map',
        Label: 'Objects',
        ItemReader: {
          Resource: integration('s3:listObjectsV2'),
          Parameters: { Bucket: input.bucket, 'Prefix.$': '$.prefix' },
        },
        ItemSelector: {
          Bucket: input.bucket,
          ...Object.fromEntries(['Key', 'Etag', 'Size'].map((k) => [`${k}.$`, `$$.Map.Item.Value.${k}`])),
        },
        ItemBatcher: {
          MaxItemsPerBatchPath: '$.items',
          MaxInputBytesPerBatch: BATCH_BYTES,
          BatchInput: { 'tolerated.$': '$.tolerated' },
        },
        MaxConcurrencyPath: '$.concurrency',
        ToleratedFailurePercentagePath: '$.tolerated',
        ResultWriter: {
          Resource: integration('s3:putObject'),
          Parameters: { Bucket: output.bucket, Prefix: `${output.prefix}${MAP_RUNS}`.slice(0, -1) },
        },
        ItemProcessor: {
          ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' },
          StartAt: 'Answer',
          States: {
            Answer: {
              ...answer,
              Retry: RETRY,
              Catch: [{ ErrorEquals: ['States.ALL'], ResultPath: '$.error', Next: 'AnswerLast' }],
            },
            AnswerLast: { ...answer, Retry: RETRY },
            Open: {
              Type: 'Choice',
              Choices: [
                { Variable: '$.answer.open', NumericGreaterThan: 0, Next: 'Wait' },
                { Variable: '$.answer.tooMany', BooleanEquals: true, Next: 'TooMany' },
              ],
              Default: 'Done',
            },
            Wait: { Type: 'Wait', Seconds: AGAIN_SECONDS, Next: 'Answer' },
            TooMany: {
              Type: 'Fail',
              Error: 'TooManyFailed',
              Cause: 'More objects of the batch failed than the map tolerates',
            },
            Done: { Type: 'Pass', OutputPath: '$.answer', End: true },
          },
        },
        End: true,
      },
    },
  }
}

interface MapPlace {
  readonly name: string
  /** what is called: a version of the function where there are versions, since a run keeps the model it began with */
  readonly target: Json
  /** what may be called: versions come and go with deploys, and a run that has begun calls its own */
  readonly callable: Json
  readonly logDays: number
}

export function mapResources(batch: BatchOptions & { readonly map: MapOptions }, place: MapPlace): Resources {
  const { name, target, logDays } = place
  const logs = {
    BatchMapLogs: {
      Type: 'AWS::Logs::LogGroup',
      Properties: { LogGroupName: `/aws/vendedlogs/states/${name}`, RetentionInDays: logDays },
    },
  }
  const logging = {
    Level: 'ERROR',
    // inputs are names of objects
    IncludeExecutionData: false,
    Destinations: [{ CloudWatchLogsLogGroup: { LogGroupArn: { 'Fn::GetAtt': ['BatchMapLogs', 'Arn'] } } }],
  }
  return {
    BatchMap: {
      Type: 'AWS::StepFunctions::StateMachine',
      Properties: {
        StateMachineName: name,
        StateMachineType: 'STANDARD',
        RoleArn: { 'Fn::GetAtt': ['BatchMapRole', 'Arn'] },
        DefinitionString: { 'Fn::Sub': [JSON.stringify(mapDefinition(batch), null, 1), { function: target }] },
        ...(batch.map.logs && { LoggingConfiguration: logging }),
      },
    },
    BatchMapRole: serviceRole('states', mapStatements(batch, place)),
    ...(batch.map.logs && logs),
  }
}

function mapStatements(
  { input, output, map }: BatchOptions & { readonly map: MapOptions },
  place: MapPlace,
): Statement[] {
  const own = (kind: string) => ({
    'Fn::Sub': `arn:\${AWS::Partition}:states:\${AWS::Region}:\${AWS::AccountId}:${kind}`,
  })
  const { name, callable } = place
  const allow = (Action: readonly string[], Resource: Json, more?: Pick<Statement, 'Condition'>): Statement => ({
    Effect: 'Allow',
    Action,
    Resource,
    ...more,
  })
  const below = { Condition: { StringLike: { 's3:prefix': `${input.prefix}*` } } }
  return [
    allow(['lambda:InvokeFunction'], callable),
    allow(
      ['s3:ListBucket'],
      { 'Fn::Sub': `arn:\${AWS::Partition}:s3:::${input.bucket}` },
      input.prefix === '' ? {} : below,
    ),
    allow(['s3:GetObject', 's3:PutObject', 's3:ListMultipartUploadParts', 's3:AbortMultipartUpload'], {
      'Fn::Sub': `arn:\${AWS::Partition}:s3:::${output.bucket}/${output.prefix}${MAP_RUNS}*`,
    }),
    // a Distributed Map starts its children as executions of its own, and looks after them
    allow(['states:StartExecution'], own(`stateMachine:${name}`)),
    allow(['states:DescribeExecution', 'states:StopExecution'], own(`execution:${name}:*`)),
    allow(['states:RedriveExecution'], own(`execution:${name}/*:*`)),
    ...(map.logs ? [allow(LOG_DELIVERY, '*')] : []),
  ]
}

/** Of log deliveries, which know no permission on single resources. */
const LOG_DELIVERY = [
  'logs:CreateLogDelivery',
  'logs:GetLogDelivery',
  'logs:UpdateLogDelivery',
  'logs:DeleteLogDelivery',
  'logs:ListLogDeliveries',
  'logs:PutResourcePolicy',
  'logs:DescribeResourcePolicies',
  'logs:DescribeLogGroups',
]
