import { AppError } from '../../../src/errors.ts'
import { isObject, type Json, type JsonObject } from '../../formats/jsonvalue.ts'

/** Tuples are lists, or objects that say so in either of two ways. */
export function untupled(v: Json | undefined): Json | undefined {
  if (Array.isArray(v)) return v.map((x) => untupled(x as Json) ?? null)
  if (!isObject(v) || v.class_name !== '__tuple__') return v
  const items = v.items ?? (isObject(v.config) ? v.config.value : undefined)
  return Array.isArray(items) ? untupled(items) : []
}

/** The `config` of a layer, read with the types that its row expects. Every getter throws BAD_MODEL_FILE when the file says otherwise. */
export class Config {
  readonly json: JsonObject
  readonly where: string

  constructor(json: JsonObject, where: string) {
    this.json = json
    this.where = where
  }

  /** The value itself; absent and null are the same to Keras. */
  get(name: string): Json | undefined {
    return untupled(Object.hasOwn(this.json, name) ? this.json[name] : undefined) ?? undefined
  }

  num(name: string, fallback?: number): number {
    const v = this.get(name) ?? fallback
    if (typeof v === 'number') return v
    throw this.bad(name, 'a number', v)
  }

  int(name: string, fallback?: number): number {
    const v = this.num(name, fallback)
    if (Number.isSafeInteger(v)) return v
    throw this.bad(name, 'an integer', v)
  }

  bool(name: string, fallback = false): boolean {
    const v = this.get(name) ?? fallback
    if (typeof v === 'boolean' || v === 0 || v === 1) return Boolean(v)
    throw this.bad(name, 'true or false', v)
  }

  str(name: string, fallback?: string): string {
    const v = this.get(name) ?? fallback
    if (typeof v === 'string') return v
    throw this.bad(name, 'a string', v)
  }

  /** One of a few words. */
  word<const W extends string>(name: string, words: readonly W[], fallback?: W): W {
    const v = this.str(name, fallback)
    const found = words.find((w) => w === v)
    if (found !== undefined) return found
    throw this.bad(name, `one of ${words.join(', ')}`, v)
  }

  /** A list of integers; a single one stands for `count` equal ones. */
  ints(name: string, count: number, fallback?: number): number[] {
    const v = this.get(name) ?? fallback
    const list = Array.isArray(v) ? v : typeof v === 'number' ? Array<Json>(count).fill(v) : []
    if (list.length === count && list.every((d) => Number.isSafeInteger(d))) return list as number[]
    throw this.bad(name, count === 1 ? 'an integer' : `${count} integers`, v)
  }

  /** A list of integers of any length; a single one is a list of one. */
  list(name: string, fallback?: number): number[] {
    const v = this.get(name) ?? fallback
    const list = Array.isArray(v) ? v : [v]
    if (list.every((d) => Number.isSafeInteger(d))) return list as number[]
    throw this.bad(name, 'a list of integers', v)
  }

  /** Nested numbers, flat, with their shape: the mean of a Normalization, the scale of a Rescaling. */
  array(name: string): { shape: number[]; values: number[] } | undefined {
    const v = this.get(name)
    if (v === undefined) return undefined
    const shape: number[] = []
    for (let at: Json | undefined = v; Array.isArray(at); at = at[0]) shape.push(at.length)
    const values: number[] = []
    const visit = (x: Json): void => {
      if (Array.isArray(x)) for (const inner of x as readonly Json[]) visit(inner)
      else if (typeof x === 'number') values.push(x)
      else throw this.bad(name, 'numbers', x)
    }
    visit(v)
    if (values.length === shape.reduce((p, q) => p * q, 1)) return { shape, values }
    throw this.bad(name, 'lists of equal length', v)
  }

  object(name: string): JsonObject {
    const v = this.get(name)
    if (isObject(v)) return v
    throw this.bad(name, 'an object', v)
  }

  /** The same with other values. */
  with(values: JsonObject): Config {
    return new Config({ ...this.json, ...values }, this.where)
  }

  /** The config of an object inside this one. */
  within(json: Json | undefined, what: string): Config {
    return new Config(isObject(json) ? json : {}, `${this.where}, ${what}`)
  }

  bad(name: string, expected: string, got: Json | undefined): AppError {
    return new AppError('BAD_MODEL_FILE', {
      where: `${this.where}, config.${name}`,
      expected,
      got:
        got === undefined
          ? 'nothing'
          : Array.isArray(got)
            ? `a list of ${got.length}`
            : isObject(got)
              ? 'an object'
              : String(got).slice(0, 60),
    })
  }
}
