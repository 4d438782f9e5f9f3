/** What AWS allows by default, and what cannot be raised; docs/scaling.md says what follows from each. */
export const QUOTAS = {
  lambda: {
    /** environments of an account and region at once; raised on request */
    concurrency: 1000,
    /** new environments of one function per second: 1,000 every 10 s */
    ramp: 100,
    seconds: 900,
  },
  map: {
    /** child executions of one run at once */
    concurrency: 10_000,
    /** standard child executions started per second */
    starts: 100,
    /** objects of one run */
    items: 100_000_000,
    /** input, output and state of an execution, in bytes */
    state: 262_144,
    /** events of one child execution */
    history: 25_000,
  },
  sqs: {
    /** batches of one event source mapping at once; it begins with 5 and adds 300 a minute */
    concurrency: 1250,
    first: 5,
    ramp: 5,
    /** messages of one invocation, as the stack sets it */
    batch: 10,
  },
  /** requests per second and prefix; S3 divides a prefix that stays busy, which takes minutes */
  s3: { reads: 5500, writes: 3500 },
} as const

/** What a measurement on another machine cannot tell. Each is printed with the plan. */
export const ASSUMED = {
  /** MB at which Lambda gives one whole vCPU; a smaller function has its share of one */
  vcpuMemory: 1769,
  /** milliseconds of one request to S3 from the same region */
  requestMs: 30,
  /** starting an environment and loading the model */
  coldMs: 1000,
  /** objects that one environment has under way, where each is one record (src/batch/worker.ts) */
  overlap: 16,
  /** share of the account's concurrency that is left to others */
  spared: 0.1,
} as const
