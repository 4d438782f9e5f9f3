// predict.handler for a function that fetches its model: Lambda's init phase ends when this module is loaded, so that provisioned
// environments are ready before they are used. Lambda kills an init phase after 10 s; what takes longer goes on in the invocation.
import { createRequire } from 'node:module'

const { handler, streamed, ready } = createRequire(import.meta.url)('./predict.js')
let timer
await Promise.race([ready, new Promise((resolve) => (timer = setTimeout(resolve, 8500)))])
clearTimeout(timer)

export { handler, streamed }
