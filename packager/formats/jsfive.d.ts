/** What is used of jsfive, which brings no types. */
declare module 'jsfive' {
  export class Group {
    readonly attrs: Readonly<Record<string, unknown>>
    readonly keys: readonly string[]
    get(path: string): unknown
  }
  export class File extends Group {
    constructor(bytes: ArrayBuffer, name?: string)
  }
}
