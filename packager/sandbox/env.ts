import { randomUUID } from 'node:crypto'
import { delimiter } from 'node:path'

export interface EnvSpec {
  readonly functionName: string
  readonly handler: string
  readonly memory: number
  readonly api: string
  readonly nodeMajor: number
  /** /var/task and /opt, or where they stand in without a box */
  readonly task: string
  readonly opt: string
  readonly extra?: Readonly<Record<string, string>>
}

/** The variables of a Lambda execution environment. HOME is not among them. The author's own come last, as in Lambda. */
export function lambdaEnv(s: EnvSpec): Record<string, string> {
  const region = 'us-east-1'
  const runtime = '/var/runtime'
  return {
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
    PATH: '/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin',
    LD_LIBRARY_PATH: `/var/lang/lib:/lib64:/usr/lib64:${runtime}:${runtime}/lib:${s.task}:${s.task}/lib:${s.opt}/lib`,
    NODE_PATH: [
      `${s.opt}/nodejs/node${s.nodeMajor}/node_modules`,
      `${s.opt}/nodejs/node_modules`,
      `${runtime}/node_modules`,
      runtime,
      s.task,
    ].join(delimiter),
    LAMBDA_TASK_ROOT: s.task,
    LAMBDA_RUNTIME_DIR: runtime,
    _HANDLER: s.handler,
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_EXECUTION_ENV: `AWS_Lambda_nodejs${s.nodeMajor}.x`,
    AWS_LAMBDA_RUNTIME_API: s.api,
    AWS_LAMBDA_FUNCTION_NAME: s.functionName,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(s.memory),
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${s.functionName}`,
    AWS_LAMBDA_LOG_STREAM_NAME: `${new Date().toISOString().slice(0, 10).replaceAll('-', '/')}/[$LATEST]${randomUUID().replaceAll('-', '')}`,
    ...s.extra,
  }
}
