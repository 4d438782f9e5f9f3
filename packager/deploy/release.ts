import { choice, flag, object, usage } from './checks.ts'
import type { HttpOptions } from './options.ts'
import { allow, type Json, type Resources, serviceRole } from './resources.ts'

export interface ReleaseOptions {
  /** how traffic goes over to a new version, in the words of CodeDeploy and SAM */
  readonly shift: Shift
  /** alarms on the new version end a shift and bring the old one back */
  readonly alarms: boolean
  /** golden requests are answered by the new version before it gets any traffic */
  readonly golden: boolean
}

const SHIFTS = [
  'AllAtOnce',
  'Canary10Percent5Minutes',
  'Canary10Percent10Minutes',
  'Canary10Percent15Minutes',
  'Canary10Percent30Minutes',
  'Linear10PercentEvery1Minute',
  'Linear10PercentEvery2Minutes',
  'Linear10PercentEvery3Minutes',
  'Linear10PercentEvery10Minutes',
] as const
type Shift = (typeof SHIFTS)[number]

export function readRelease(raw: unknown): ReleaseOptions {
  const o = object(raw ?? {}, 'release', ['shift', 'alarms', 'golden'])
  const shift = choice(o.shift, 'release.shift', SHIFTS, 'AllAtOnce')
  const stepwise = shift !== 'AllAtOnce'
  const alarms = flag(o.alarms, 'release.alarms', stepwise)
  if (alarms && !stepwise)
    throw usage('release.alarms', 'a shift in steps, which an alarm can stop', `shift: ${shift}`, 'Set release.shift.')
  return { shift, alarms, golden: flag(o.golden, 'release.golden', true) }
}

export interface Released {
  readonly functionName: string
  readonly functionId: string
  readonly versionId: string
  readonly aliasId: string
  readonly alias: string
}

/** CloudFormation moves an alias at once, unless CodeDeploy does it for it. */
export function shiftResources(
  resources: Resources,
  r: ReleaseOptions,
  of: Released,
  http: HttpOptions | undefined,
): void {
  const alias = resources[of.aliasId]
  if (r.shift === 'AllAtOnce' || !alias) return
  const alarms = r.alarms ? alarmResources(resources, of, http) : {}
  const ApplicationName = { Ref: 'ReleaseApplication' }
  Object.assign(resources, alarms, {
    ReleaseApplication: { Type: 'AWS::CodeDeploy::Application', Properties: { ComputePlatform: 'Lambda' } },
    ReleaseGroup: {
      Type: 'AWS::CodeDeploy::DeploymentGroup',
      Properties: {
        ApplicationName,
        ServiceRoleArn: { 'Fn::GetAtt': ['ReleaseRole', 'Arn'] },
        DeploymentConfigName: `CodeDeployDefault.Lambda${r.shift}`,
        DeploymentStyle: { DeploymentType: 'BLUE_GREEN', DeploymentOption: 'WITH_TRAFFIC_CONTROL' },
        AutoRollbackConfiguration: {
          Enabled: true,
          Events: ['DEPLOYMENT_FAILURE', 'DEPLOYMENT_STOP_ON_ALARM', 'DEPLOYMENT_STOP_ON_REQUEST'],
        },
        AlarmConfiguration: {
          Enabled: r.alarms,
          Alarms: Object.keys(alarms).map((Name) => ({ Name: { Ref: Name } })),
        },
      },
    },
    ReleaseRole: shiftRole(of),
    [of.aliasId]: {
      ...alias,
      UpdatePolicy: {
        CodeDeployLambdaAliasUpdate: { ApplicationName, DeploymentGroupName: { Ref: 'ReleaseGroup' } },
      },
    },
  } satisfies Resources)
}

/** What CodeDeploy does for a shift: look at the alarms, move the weights of one alias. */
function shiftRole({ functionId, alias }: Released): Resources[string] {
  const Resource: Json[] = [{ 'Fn::GetAtt': [functionId, 'Arn'] }, { 'Fn::Sub': `\${${functionId}.Arn}:${alias}` }]
  return serviceRole('codedeploy', [
    allow(['lambda:GetAlias', 'lambda:UpdateAlias', 'lambda:GetProvisionedConcurrencyConfig'], Resource),
    // reading only; it is asked for lists of alarms
    allow(['cloudwatch:DescribeAlarms'], {
      'Fn::Sub': `arn:\${AWS::Partition}:cloudwatch:\${AWS::Region}:\${AWS::AccountId}:alarm:*`,
    }),
  ])
}

/** namespace, metric of failures, metric of all, whose */
type Rate = readonly [namespace: string, failures: string, all: string, dimension: string, of: (r: Resources) => Json]

const ENDPOINT_RATES: Readonly<Record<HttpOptions['api'], Rate>> = {
  http: ['AWS/ApiGateway', '5xx', 'Count', 'ApiId', () => ({ Ref: 'HttpApi' })],
  rest: ['AWS/ApiGateway', '5XXError', 'Count', 'ApiName', (r) => properties(r.ApiGatewayRestApi).Name!],
  url: ['AWS/Lambda', 'Url5xxCount', 'UrlRequestCount', 'FunctionName', () => ({ Ref: 'PredictLambdaFunction' })],
}

const properties = (r: Resources[string] | undefined) => (r?.Properties ?? {}) as Readonly<Record<string, Json>>

/** Below the tenth that a new version gets first: when it fails always, this is exceeded. */
const MOST_PERCENT = 5

/** By the minute, as steps are. What the function answers itself as 5xx is no error to Lambda, hence the endpoint's. */
function alarmResources(resources: Resources, of: Released, http: HttpOptions | undefined): Resources {
  const common = {
    ComparisonOperator: 'GreaterThanThreshold',
    EvaluationPeriods: 1,
    TreatMissingData: 'notBreaching',
  }
  const errors = {
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      ...common,
      AlarmDescription: `Failed invocations of the new version of ${of.functionName}`,
      Namespace: 'AWS/Lambda',
      MetricName: 'Errors',
      Dimensions: [
        { Name: 'FunctionName', Value: of.functionName },
        { Name: 'Resource', Value: `${of.functionName}:${of.alias}` },
        { Name: 'ExecutedVersion', Value: { 'Fn::GetAtt': [of.versionId, 'Version'] } },
      ],
      Statistic: 'Sum',
      Period: 60,
      Threshold: 0,
    },
  }
  if (!http) return { ReleaseErrorsAlarm: errors }
  const [Namespace, failures, all, Name, value] = ENDPOINT_RATES[http.api]
  const metric = (Id: string, MetricName: string) => ({
    Id,
    ReturnData: false,
    MetricStat: {
      Metric: { Namespace, MetricName, Dimensions: [{ Name, Value: value(resources) }] },
      Period: 60,
      Stat: 'Sum',
    },
  })
  const rate = {
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      ...common,
      AlarmDescription: `Percent of requests that ${of.functionName} answers with 5xx`,
      Metrics: [
        { Id: 'percent', Expression: '100 * failures / requests', ReturnData: true },
        metric('failures', failures),
        metric('requests', all),
      ],
      Threshold: MOST_PERCENT,
    },
  }
  return { ReleaseErrorsAlarm: errors, ReleaseFailuresAlarm: rate }
}
