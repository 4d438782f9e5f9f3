// The runtime interface client inside the box: what /var/runtime/index.mjs is in Lambda. Plain CommonJS without dependencies,
// because it runs where no other file of this project can be reached. Started with Lambda's environment variables.
'use strict'
const http = require('node:http')
const fs = require('node:fs')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const { format } = require('node:util')

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':')
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
const ROOT = process.env.LAMBDA_TASK_ROOT
const STREAMING = Symbol('streaming')
/** Runtimes from nodejs24.x on reject handlers that take a callback. */
const CALLBACKS = Number(process.versions.node.split('.')[0]) < 24

globalThis.awslambda = {
  streamifyResponse: (handler) => Object.assign(handler, { [STREAMING]: true }),
  HttpResponseStream: {
    from(stream, metadata) {
      stream.setContentType('application/vnd.awslambda.http-integration-response')
      stream.write(JSON.stringify(metadata))
      // eight zero bytes end the prelude
      stream.write(Buffer.alloc(8))
      return stream
    },
  },
}

/** As in Lambda: one line with time and request, written at once, so that it is out before the answer is. */
const LEVELS = { debug: 'DEBUG', log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', trace: 'TRACE' }
let requestId
for (const [method, level] of Object.entries(LEVELS)) {
  console[method] = (...args) => {
    const text = `${new Date().toISOString()}\t${requestId}\t${level}\t${format(...args)}\n`
    for (let rest = Buffer.from(text); rest.length > 0; ) rest = rest.subarray(fs.writeSync(1, rest))
  }
}

function open(method, url, headers) {
  const request = http.request({ host, port, agent, method, path: `/2018-06-01/runtime/${url}`, headers })
  const answered = new Promise((resolve, reject) => {
    request.on('error', reject)
    request.on('response', (response) => {
      const chunks = []
      response.on('data', (c) => chunks.push(c))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }),
      )
    })
  })
  return { request, answered }
}

function call(method, url, body, headers = {}) {
  const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) }
  const { request, answered } = open(method, url, { 'Content-Type': 'application/json', ...length, ...headers })
  request.end(body)
  return answered
}

/** For the REPORT line, which in Lambda is written from outside. */
const used = () => ({ 'Sandbox-Max-Memory-Kb': process.resourceUsage().maxRSS })

function report(url, error, type) {
  const known = error instanceof Error
  const body = {
    errorType: type ?? (known ? error.name : typeof error),
    errorMessage: known ? error.message : String(error),
    trace: known ? (error.stack ?? '').split('\n') : [],
  }
  return call('POST', url, JSON.stringify(body), { 'Lambda-Runtime-Function-Error-Type': body.errorType, ...used() })
}

/** An Error whose name is one of Lambda's types. */
function fault(name, message, cause) {
  const e = new Error(message)
  e.name = name
  if (cause?.stack) e.stack = `${name}: ${cause.stack}`
  return e
}

async function load() {
  const [, folder, file, keys] = /^(.*\/)?([^/.]+)\.(.+)$/.exec(process.env._HANDLER) ?? []
  if (!file) throw fault('Runtime.MalformedHandlerName', 'Bad handler: expected FILE.EXPORT')
  const base = path.resolve(ROOT, folder ?? '', file)
  const found = ['.js', '.mjs', '.cjs'].map((x) => base + x).find((f) => fs.existsSync(f))
  if (!found) throw fault('Runtime.ImportModuleError', `Error: Cannot find module '${file}'`)
  let module
  try {
    module = isModule(found) ? await import(pathToFileURL(found)) : require(found)
  } catch (e) {
    if (e instanceof SyntaxError) throw fault('Runtime.UserCodeSyntaxError', String(e), e)
    if (e?.code === 'MODULE_NOT_FOUND' || e?.code === 'ERR_MODULE_NOT_FOUND')
      throw fault('Runtime.ImportModuleError', String(e), e)
    throw e
  }
  const handler = keys.split('.').reduce((o, k) => o?.[k], module)
  if (typeof handler !== 'function')
    throw fault('Runtime.HandlerNotFound', `${process.env._HANDLER} is undefined or not exported`)
  if (!CALLBACKS && handler.length >= 3 && !handler[STREAMING])
    throw fault('Runtime.CallbackHandlerDeprecated', 'Handlers that take a callback are not supported; make it async')
  return handler
}

function isModule(file) {
  if (!file.endsWith('.js')) return file.endsWith('.mjs')
  const manifest = path.join(ROOT, 'package.json')
  return fs.existsSync(manifest) && JSON.parse(fs.readFileSync(manifest, 'utf8')).type === 'module'
}

function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms'])
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  }
}

async function run(handler, event, context) {
  if (handler.length < 3 || !CALLBACKS) return handler(event, context)
  return new Promise((resolve, reject) => {
    const result = handler(event, context, (error, value) => (error ? reject(error) : resolve(value)))
    if (typeof result?.then === 'function') result.then(resolve, reject)
  })
}

async function stream(handler, event, context) {
  const { request, answered } = open('POST', `invocation/${context.awsRequestId}/response`, {
    'Content-Type': 'application/octet-stream',
    'Lambda-Runtime-Function-Response-Mode': 'streaming',
    'Transfer-Encoding': 'chunked',
  })
  request.setContentType = (type) => request.setHeader('Content-Type', type)
  await handler(event, request, context)
  if (!request.writableEnded) request.end()
  await answered
}

let current = 'init/error'
/** Lambda reports what was thrown outside the handler's promise, and ends the environment. */
function die(error, type, code) {
  report(current, error, type).finally(() => process.exit(code))
}

async function main() {
  process.on('uncaughtException', (e) => die(e, undefined, 129))
  process.on('unhandledRejection', (e) =>
    die(e instanceof Error ? e : new Error(String(e)), 'Runtime.UnhandledPromiseRejection', 128),
  )
  process.chdir(ROOT)
  // only without a box: there nothing else ends this process with the one that started it
  if (process.channel) {
    process.on('disconnect', () => process.exit(1))
    process.channel.unref()
  }
  let handler
  try {
    handler = await load()
  } catch (e) {
    await report('init/error', e)
    process.exit(1)
  }
  for (;;) {
    const { headers, body } = await call('GET', 'invocation/next')
    const context = contextOf(headers)
    requestId = context.awsRequestId
    current = `invocation/${context.awsRequestId}/error`
    process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id']
    try {
      const event = JSON.parse(body.toString())
      if (handler[STREAMING]) {
        await stream(handler, event, context)
        continue
      }
      const answer = JSON.stringify((await run(handler, event, context)) ?? null)
      await call('POST', `invocation/${context.awsRequestId}/response`, answer, used())
    } catch (e) {
      await report(current, e)
    }
  }
}

// the Runtime API goes away with the sandbox; nobody is left to tell
main().catch(() => process.exit(1))
