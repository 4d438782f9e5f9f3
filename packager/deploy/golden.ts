import type { FunctionEntry } from '../layers/dist.ts'
import { baseProperties } from './functions.ts'
import type { DeployOptions } from './options.ts'
import { allow, functionKey, type Json, type Resources, roleResource } from './resources.ts'

export interface Checked {
  /** of the function that checks */
  readonly functionName: string
  readonly bucket: Json
  /** logical ids: whose version, which version, and the aliases that wait for the check */
  readonly functionId: string
  readonly versionId: string
  readonly aliasIds: readonly string[]
}

/** The longest that Lambda gives. */
const TIMEOUT = 900

/**
 * Golden requests as a step of the stack: a custom resource for the new version, which the aliases depend on. It works on the first deploy,
 * and without CodeDeploy, too; what differs stands in the events of the stack, and the alias has not moved.
 */
export function goldenResources(resources: Resources, golden: FunctionEntry, of: Checked, o: DeployOptions): void {
  const versions = { 'Fn::Sub': `\${${of.functionId}.Arn}:*` }
  Object.assign(resources, {
    GoldenRole: roleResource(of.functionName, [allow(['lambda:InvokeFunction'], versions)]),
    GoldenLogGroup: {
      Type: 'AWS::Logs::LogGroup',
      Properties: { LogGroupName: `/aws/lambda/${of.functionName}`, RetentionInDays: o.logDays },
    },
    GoldenLambdaFunction: {
      Type: 'AWS::Lambda::Function',
      DependsOn: 'GoldenLogGroup',
      Properties: {
        ...baseProperties(o),
        FunctionName: of.functionName,
        Description: 'Sends golden requests to new versions',
        Handler: golden.handler,
        Role: { 'Fn::GetAtt': ['GoldenRole', 'Arn'] },
        MemorySize: 512,
        Timeout: TIMEOUT,
        Code: { S3Bucket: of.bucket, S3Key: functionKey(golden) },
      },
    },
    GoldenCheck: {
      Type: 'AWS::CloudFormation::CustomResource',
      Properties: {
        ServiceToken: { 'Fn::GetAtt': ['GoldenLambdaFunction', 'Arn'] },
        ServiceTimeout: TIMEOUT + 60,
        Version: { Ref: of.versionId },
      },
    },
  } satisfies Resources)
  for (const id of of.aliasIds) {
    const alias = resources[id]
    if (alias) resources[id] = { ...alias, DependsOn: 'GoldenCheck' }
  }
}
