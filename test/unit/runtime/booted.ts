// Run by session.test.ts in a process of its own: boots a root as Lambda would and answers one request.
import { boot } from '../../../src/boot.ts'

const app = await boot({
  opt: process.argv[2]!,
  taskRoot: '/nowhere',
  memoryMb: 512,
  defaultModel: undefined,
  labels: '',
  cors: false,
})
const body = Buffer.from('{"images":[[1,2,3,4]]}')
const { status } = await app.handle({ method: 'POST', path: '/', query: '', headers: {}, body, requestId: 'r' })
const { sharedObjects = [] }: { sharedObjects?: string[] } = process.report.getReport()
console.log(JSON.stringify({ status, natives: sharedObjects.filter((file) => file.includes('node_modules')) }))
