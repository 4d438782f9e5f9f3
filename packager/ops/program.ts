import { ARRAY_STEPS } from '../../src/stringarrays.ts'
import type { Step } from '../../src/strings.ts'
import { runStrings } from '../../src/strings.ts'
import type { DType, Tensor } from '../../src/tensor.ts'
import { ONNX_FROM } from '../formats/proto/onnx.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Shape, Value } from '../onnx/value.ts'
import { type AnyNode, type Env, unsupported } from './op.ts'

/** A step of the runtime's string programs before registers are numbered. */
export interface StepSpec {
  readonly op: string
  readonly inputs: readonly Value[]
  readonly attrs?: Readonly<Record<string, unknown>>
  readonly outputs: readonly { readonly name: string; readonly dtype: DType; readonly shape: Shape | undefined }[]
}

interface Recipe {
  readonly op: string
  readonly inputs: readonly Value[]
  readonly attrs: Readonly<Record<string, unknown>>
  /** values by name, in the order of the step's results */
  readonly outputs: readonly string[]
}

/** How values could be computed in the runtime although the graph computes them: rows that emit ONNX leave this note. */
const RECIPES = new WeakMap<Env, Map<string, Recipe>>()

export function remember(n: AnyNode, op: string, inputs: readonly Value[], out: Value, attrs = {}): Value {
  const known = RECIPES.get(n.env) ?? new Map<string, Recipe>()
  RECIPES.set(n.env, known.set(out.name, { op, inputs, attrs, outputs: [out.name] }))
  return out
}

const noteOf = (n: AnyNode, v: Value): Recipe | undefined => RECIPES.get(n.env)?.get(v.name)

/** The step behind a value: a note of a row, or a node of the graph that only moves or counts. */
function recipeOf(n: AnyNode, v: Value, b: Builder): Recipe | undefined {
  const noted = noteOf(n, v)
  if (noted) return noted
  const node = b.producer(v)
  if (node?.domain !== '' || !Object.hasOwn(ARRAY_STEPS, node.type)) return undefined
  const attrs: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(node.attrs))
    if (key === 'to') attrs.dtype = ONNX_FROM[Number(value)]
    else attrs[key] = value
  if (node.type === 'Cast' && (attrs.dtype === 'string' || v.dtype === 'string')) return undefined
  const inputs = node.inputs.map((name): Value => {
    const data = b.constantNamed(name)
    const info = b.info.get(name)
    return {
      kind: 'tensor',
      name,
      dtype: data?.dtype ?? info?.dtype ?? 'string',
      shape: data?.shape ?? info?.shape,
      ...(data && { data }),
    }
  })
  return { op: node.type, inputs, attrs, outputs: node.outputs }
}

/** JSON has no integers past 2^53. */
const literal = (t: Tensor): unknown[] =>
  Array.from(t.data as ArrayLike<number | bigint | string>, (v) => (typeof v === 'bigint' ? String(v) : v))

/**
 * The program that leads from graph inputs to a step, or undefined where something on the way is not for the runtime.
 * @param bytes for a cut whose strings are bytes: it goes behind a decoder of text, which has lost them
 */
export function trace(
  n: AnyNode,
  target: StepSpec,
  b: Builder,
  bytes = false,
): { inputs: Value[]; steps: Step[]; outputs: number[] } | undefined {
  const order: (Recipe | Tensor)[] = []
  const inputs = new Map<string, Value>()
  const seen = new Set<string>()
  const visit = (v: Value): boolean => {
    if (seen.has(v.name)) return true
    seen.add(v.name)
    if (v.data) return order.push(v.data) > 0
    const noted = bytes ? noteOf(n, v) : undefined
    if (!noted && n.env.isInput(v)) {
      inputs.set(v.name, v)
      return true
    }
    const recipe = noted ?? recipeOf(n, v, b)
    if (!recipe?.inputs.every(visit)) return false
    return order.push(recipe) > 0
  }
  const last: Recipe = { op: target.op, inputs: target.inputs, attrs: target.attrs ?? {}, outputs: [''] }
  if (!target.inputs.every(visit)) return undefined

  const registers = new Map<string, number>([...inputs.keys()].map((name, i) => [name, i]))
  const constants = new Map<Tensor, number>()
  let next = inputs.size
  const steps: Step[] = []
  const reg = (v: Value): number => (v.data ? constants.get(v.data)! : registers.get(v.name)!)
  for (const item of [...order, last])
    if ('dtype' in item) {
      constants.set(item, next++)
      steps.push({ op: 'Const', in: [], dtype: item.dtype, shape: item.shape, data: literal(item) })
    } else {
      for (const name of item.outputs) registers.set(name, next++)
      steps.push({ ...item.attrs, ...(bytes && { bytes }), op: item.op, in: item.inputs.map(reg) })
    }
  const first = next - 1
  return { inputs: [...inputs.values()], steps, outputs: target.outputs.map((_, i) => first + i) }
}

/**
 * One step that ONNX has no operator for: done now where all is constant, before the graph where it hangs off the inputs of the signature.
 * @throws {AppError} UNSUPPORTED_OPS otherwise
 */
export function stringStep(n: AnyNode, target: StepSpec, b: Builder): readonly Value[] {
  if (target.inputs.every((v) => v.data)) {
    const count = target.inputs.length
    const step = { ...target.attrs, op: target.op, in: target.inputs.map((_, i) => i) }
    const outputs = target.outputs.map((_, i) => count + i)
    return runStrings(
      { steps: [step], outputs },
      target.inputs.map((v) => v.data!),
    ).map((t) => b.const(t))
  }
  const program = trace(n, target, b)
  if (!program)
    throw unsupported(n, 'strings that come from an input of the signature', 'strings that the graph computes')
  const { inputs, steps, outputs } = program
  const named = target.outputs.map((o) => ({
    ...o,
    name: target.outputs.length === 1 ? n.name : `${n.name}/${o.name}`,
  }))
  return n.env.cut({ kind: 'strings', node: n.node, inputs, outputs: named, spec: { steps, outputs } })
}
