import { serveThread } from '../src/batch/thread.ts'

/** What a worker thread of the batch runs, in Lambda and on a workstation. */
serveThread()
