import { formatDouble, formatString } from './format.ts'
import { expand, isList, isNumbers, isObject, type Json } from './value.ts'

/** As much of a value as an error quotes. */
const QUOTED_BYTES = 256

/** rapidjson's word for what a value is. */
export function kindOfJson(v: Json): string {
  if (v === null) return 'Null'
  if (typeof v === 'boolean') return v ? 'True' : 'False'
  if (typeof v === 'string') return 'String'
  if (typeof v === 'number' || typeof v === 'bigint') return 'Number'
  return isObject(v) ? 'Object' : 'Array'
}

/** The beginning of a value as TensorFlow Serving's errors quote it: indented by four, an element a line. For the caller only, never a log. */
export function quoteJson(value: Json): string {
  let text = ''
  const full = () => text.length > QUOTED_BYTES
  const write = (v: Json, indent: string): void => {
    // whole values only grow the text, so that no nesting is deeper than what is quoted
    if (full()) return
    if (isNumbers(v)) write(expand(v), indent)
    else if (isList(v)) group('[', ']', v, indent, (e, inner) => write(e, inner))
    else if (isObject(v))
      group('{', '}', v.members, indent, ([name, member], inner) => {
        text += `${formatString(name)}: `
        write(member, inner)
      })
    else text += scalar(v)
  }
  const group = <T>(
    open: string,
    close: string,
    items: readonly T[],
    indent: string,
    item: (i: T, indent: string) => void,
  ) => {
    text += open
    const inner = `${indent}    `
    for (const [i, one] of items.entries()) {
      if (full()) return
      text += `${i === 0 ? '' : ','}\n${inner}`
      item(one, inner)
    }
    text += items.length === 0 ? close : `\n${indent}${close}`
  }
  write(value, '')
  return Buffer.from(text)
    .subarray(0, QUOTED_BYTES)
    .toString('utf8')
    .replace(/\ufffd$/, '')
}

function scalar(v: null | boolean | bigint | number | string): string {
  if (typeof v === 'string') return formatString(v.slice(0, QUOTED_BYTES))
  return typeof v === 'number' ? formatDouble(v) : String(v)
}
