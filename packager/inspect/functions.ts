import type { MetaGraph } from '../readers/metagraph.ts'
import { loadedNames } from './loadorder.ts'
import { type PyValue, pyValue, type StructuredValue } from './structured.ts'

/** The 'Concrete Functions' part of `saved_model_cli show --all`: what can be called on the object that `tf.saved_model.load` gives. */
export function concreteFunctions(graphs: readonly MetaGraph[]): string {
  if (!graphs.some((g) => g.object_graph_def)) return ''
  // loading without tags takes only a file with one graph
  if (graphs.length > 1) return '\nConcrete Functions: N/A (could not be listed due to unknown reasons)\n'
  const [meta] = graphs
  const objects = meta!.object_graph_def!
  const names = loadedNames(meta!.graph_def ?? {})
  const children = [...(objects.nodes?.[0]?.children ?? [])].sort((a, b) => order(a.local_name, b.local_name))
  let out = '\nConcrete Functions:'
  for (const { local_name, node_id } of children) {
    const node = objects.nodes?.[node_id]
    const bare = node?.bare_concrete_function?.concrete_function_name
    const all = bare === undefined ? node?.function?.concrete_functions : [bare]
    if (!node?.function && bare === undefined) continue
    out += `\n  Function Name: '${local_name}'\n`
    const sorted = [...(all ?? [])].sort((a, b) => order(names.get(a) ?? a, names.get(b) ?? b))
    for (const [i, name] of sorted.entries()) {
      const signature = objects.concrete_functions?.[name]?.canonicalized_input_signature
      if (signature) out += option(i + 1, pyValue(signature as StructuredValue))
    }
  }
  return out
}

function option(number: number, signature: PyValue): string {
  const [args, kwargs] = signature.items ?? []
  const lines: string[] = []
  if (args?.items?.length) {
    lines.push(`    Option #${number}`, '      Callable with:')
    for (const [i, a] of args.items.entries()) lines.push(`        Argument #${i + 1}`, ...argument(a))
  }
  // of keyword arguments only the names are printed
  for (const [i, [name]] of (kwargs?.fields ?? []).entries())
    lines.push(`        Named Argument #${i + 1}`, `          ${name}`)
  return lines.map((l) => `${l}\n`).join('')
}

function argument(a: PyValue): string[] {
  const indent = ' '.repeat(10)
  if (a.type === 'str') return [`${indent}${a.str}`]
  if (a.name !== undefined) return [`${indent}${a.name}: ${a.repr}`]
  const quoted = (v: PyValue) => (v.type === 'str' ? `'${v.str}'` : v.str)
  const value = a.fields
    ? closed(
        '{',
        a.fields.map(([key, v]) => `'${key}': ${quoted(v)}`),
        '}',
      )
    : a.items
      ? closed('[', a.items.map(quoted), ']')
      : a.str
  return [`${indent}DType: ${a.type}`, `${indent}Value: ${value}`]
}

/** The tool ends each item with a comma and steps back over the last one with two backspaces, which are in its output. */
function closed(open: string, items: readonly string[], close: string): string {
  return `${open}${items.map((i) => `${i}, `).join('')}\b\b${close}`
}

/** Python's order of strings: by code point. */
export function order(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
