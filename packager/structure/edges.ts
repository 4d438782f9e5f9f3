import { AppError } from '../../src/errors.ts'
import type { Ref, TfNode } from '../graph.ts'

export type Nodes = Map<string, TfNode>

/** TensorFlow 1's control flow: each op exists for values and, with Ref in front, for references to variables. */
const kinds = (...names: string[]): ReadonlySet<string> => new Set(names.flatMap((n) => [n, `Ref${n}`]))
export const ENTER = kinds('Enter')
export const EXIT = kinds('Exit')
export const MERGE = kinds('Merge')
export const NEXT = kinds('NextIteration')
/** `_SwitchN` has an output for each index; TensorFlow makes it when it lowers a Case. */
export const SWITCH: ReadonlySet<string> = new Set([...kinds('Switch'), '_SwitchN'])
export const PASS = kinds('Identity')

const SECOND: ReadonlySet<string> = new Set(['output_true', 'value_index'])

/** Which output a reference means; graphs count them, function bodies name them. */
export function outputOf(r: Ref): number {
  return r.arg === undefined ? r.index : SECOND.has(r.arg) ? 1 : r.index
}

export const keyOf = (r: Ref): string => `${r.node}:${r.arg ?? ''}:${r.index}`

/** The reference behind Identity nodes. */
export function rootOf(r: Ref, nodes: ReadonlyMap<string, TfNode>): Ref {
  const passed = new Set<string>()
  for (let at = r; ; ) {
    const node = nodes.get(at.node)
    if (!node || !PASS.has(node.op) || passed.has(at.node)) return at
    passed.add(at.node)
    at = node.inputs[0]!
  }
}

const INPUTS: readonly (readonly [ReadonlySet<string>, number])[] = [
  [ENTER, 1],
  [EXIT, 1],
  [NEXT, 1],
  [PASS, 1],
  [MERGE, 1],
  [SWITCH, 2],
  [new Set(['LoopCond']), 1],
]

/** Everything here reads these inputs without asking. @throws {AppError} BAD_MODEL_FILE */
export function checkInputs(nodes: Iterable<TfNode>): void {
  for (const n of nodes)
    for (const [ops, count] of INPUTS)
      if (ops.has(n.op) && n.inputs.length < count)
        throw new AppError('BAD_MODEL_FILE', {
          where: `${n.op} node ${n.name}`,
          expected: `${count} ${count === 1 ? 'input' : 'inputs'}`,
          got: `${n.inputs.length}`,
        })
}

/** A name nothing else has. Blanks keep it apart from TensorFlow's own names. */
export function freeName(wanted: string, taken: { has(name: string): boolean }): string {
  let name = wanted
  for (let i = 1; taken.has(name); i++) name = `${wanted} ${i}`
  return name
}

/** TensorFlow 1's control flow, which is gone before rows are asked: for the list of operators. */
export const STRUCTURED_OPS: readonly string[] = [...ENTER, ...EXIT, ...MERGE, ...NEXT, ...SWITCH, 'LoopCond'].sort()
