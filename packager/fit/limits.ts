/** What Lambda allows; tests give smaller ones. */
export interface Limits {
  /** bytes of a function with all its layers */
  readonly unzipped: number
  readonly layers: number
  /** bytes of a zip that is sent without S3 in between */
  readonly upload: number
  /** MB of /tmp: what a function has without asking, and the most it can have */
  readonly tmp: { readonly given: number; readonly most: number }
  /** MB */
  readonly memory: number
  /** bytes of a container image */
  readonly image: number
}

export const LIMITS: Limits = {
  unzipped: 262_144_000,
  layers: 5,
  upload: 50 * 1024 * 1024,
  tmp: { given: 512, most: 10_240 },
  memory: 10_240,
  image: 10 * 1024 ** 3,
}
