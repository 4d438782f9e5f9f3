/** Starts the function itself again, and does not wait for it: how a long object goes on that came without a queue. */
export function invokeAgain(functionName: string, region: string | undefined) {
  return async (event: object): Promise<void> => {
    const { InvokeCommand, LambdaClient } = await import('@aws-sdk/client-lambda')
    const client = new LambdaClient({ region })
    const Payload = Buffer.from(JSON.stringify(event))
    await client.send(new InvokeCommand({ FunctionName: functionName, InvocationType: 'Event', Payload }))
  }
}
