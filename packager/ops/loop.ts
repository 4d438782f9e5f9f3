import { Builder } from '../onnx/builder.ts'
import { constNumber, type Dim, type Shape, type Value } from '../onnx/value.ts'
import { fuse } from '../recurrent/fuse.ts'
import { truth } from './branch.ts'
import { type Counter, isInvariant, stepOf, tripCount } from './counting.ts'
import {
  asList,
  dense,
  hollow,
  lengthOf,
  listHandle,
  meet,
  padded,
  refuse,
  type ScanSlot,
  sequence,
  type TensorList,
  vector,
  zeros,
} from './lists.ts'
import { type AnyNode, type FuncAttr, type Out, unsupported } from './op.ts'

/** What a loop variable is in the ONNX loop. */
type Variable =
  /** the body returns it as it came: the outer value is used inside, constants stay constants */
  | { readonly kind: 'invariant' }
  | ({ readonly kind: 'counter' } & Counter)
  | {
      readonly kind: 'carried'
      readonly as: 'tensor' | 'dense' | 'sequence'
      readonly init: Value
      readonly shape: Shape | undefined
      readonly free: ReadonlySet<number>
      readonly list?: TensorList
    }
  /** a list that was unset before, and that the body writes once an iteration, in order */
  | { readonly kind: 'scan'; readonly list: TensorList }

/** Shapes only become more general and lists only move down from scan over dense to sequence, so this is never reached. */
const MAX_ATTEMPTS = 50

interface Loop {
  readonly n: AnyNode
  readonly body: FuncAttr
  readonly cond: FuncAttr
  readonly init: readonly Out[]
  readonly trips: Value | undefined
  readonly b: Builder
}

/** TensorFlow's While as an ONNX Loop. */
export function emitLoop(n: AnyNode, cond: FuncAttr, body: FuncAttr, init: readonly Out[], b: Builder): readonly Out[] {
  const f = n.env.func(body)
  const fixed = init.map((v, i): Out => (isInvariant(f, i, n.env) ? v : { kind: 'poison' }))
  const counters = new Map<number, Counter>()
  for (const [i, v] of init.entries()) {
    if (v.kind !== 'tensor' || (v.dtype !== 'int32' && v.dtype !== 'int64') || v.shape?.length !== 0) continue
    const step = fixed[i]!.kind === 'poison' ? stepOf(n, f, i, b) : undefined
    if (step) counters.set(i, { start: v, step })
  }
  for (const [i, v] of init.entries()) {
    const list = asList(v)
    if (fixed[i] === v || list?.content.kind !== 'scan') continue
    refuse(list)
    return init.map(() => ({ kind: 'poison' }))
  }
  const trips = tripCount(n, n.env.func(cond), counters, fixed, b)
  const known = trips && constNumber(trips)
  if (known === 0) return init
  if (known === 1) return n.call(body, init, b)
  let variables = init.map((v, i): Variable => {
    const counter = counters.get(i)
    if (fixed[i] === v) return { kind: 'invariant' }
    return counter ? { kind: 'counter', ...counter } : firstGuess(n, v, b)
  })
  const mark = n.env.mark()
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    n.env.rewind(mark)
    const done = emitBody({ n, body, cond, init, trips, b }, variables)
    if ('outs' in done) return done.outs
    variables = done.variables
  }
  throw unsupported(n, 'a loop whose shapes settle', `shapes that differ after ${MAX_ATTEMPTS} attempts`)
}

function firstGuess(n: AnyNode, v: Out, b: Builder): Variable {
  const list = asList(v)
  return list?.content.kind === 'unset' ? { kind: 'scan', list } : carried(n, v, undefined, b)
}

/** @param learned the element shape that the body writes */
function carried(n: AnyNode, v: Out, learned: Shape | undefined, b: Builder): Variable {
  if (v.kind === 'tensor') return { kind: 'carried', as: 'tensor', init: v, shape: v.shape, free: new Set() }
  const given = asList(v)
  if (!given)
    throw unsupported(
      n,
      'loop variables that are tensors or lists',
      v.kind === 'handle' ? `a ${v.type} that changes` : v.kind,
    )
  const list = { ...given, elem: meet(given.elem, learned) }
  const stacked = given.content.kind === 'sequence' ? undefined : dense(list, b)
  if (stacked) return { kind: 'carried', as: 'dense', init: stacked, shape: stacked.shape, free: new Set(), list }
  return asOverwritten(list, b) ?? asSequence(list, b)
}

/** A list of one element is replaced whole, so it may start with any shape; TensorFlow would not stack it as it is either. */
function asOverwritten(list: TensorList, b: Builder): Variable | undefined {
  const { content, elem } = list
  if (content.kind !== 'unset' || constNumber(content.length) !== 1 || !elem) return undefined
  const init = zeros(list.dtype, b.concat([b.ints([1]), ...hollow(list, b)], 0), b)
  const shape = [1, ...elem.map((d) => (b.sees(d) ? d : b.fresh()))]
  const free = new Set(shape.flatMap((_, i) => (i > 0 && !b.sees(elem[i - 1]!) ? [i] : [])))
  return { kind: 'carried', as: 'dense', init, shape, free, list }
}

function asSequence(list: TensorList, b: Builder): Variable {
  return {
    kind: 'carried',
    as: 'sequence',
    init: sequence(list, b)!,
    shape: undefined,
    free: new Set(),
    list: { ...list, elem: undefined },
  }
}

type Done = { readonly outs: readonly Out[] } | { readonly variables: Variable[] }

/** One attempt: the loop, or better guesses for the next. */
function emitBody(l: Loop, variables: readonly Variable[]): Done {
  const { n, b } = l
  const inner = new Builder(b)
  const iteration = inner.bodyInput('iteration', 'int64', [])
  const going = inner.bodyInput('going', 'bool', [])
  const counting = new Map<string, number>()
  const slots = variables.map((v): ScanSlot | undefined =>
    v.kind === 'scan' ? { counters: counting, before: v.list, refused: false } : undefined,
  )
  /** names of the carried values in the body, in their places */
  const inside: string[] = []
  const args = variables.map((v, i): Out => {
    if (v.kind === 'invariant') return l.init[i]!
    if (v.kind === 'counter') return countedValue(v, iteration, counting, inner)
    if (v.kind === 'scan') return listHandle(n, { ...v.list, content: { kind: 'scan', slot: slots[i]! } })
    if (v.as === 'sequence') {
      const value = inner.sequenceInput('list', v.init.dtype as 'float32', v.shape)
      inside[i] = value.name
      return listHandle(n, { ...v.list!, content: { kind: 'sequence', value } })
    }
    const value = inner.bodyInput('carried', v.init.dtype, v.shape)
    inside[i] = value.name
    return v.as === 'tensor' ? value : listHandle(n, { ...v.list!, content: { kind: 'dense', value } })
  })
  const results = n.call(l.body, args, inner)
  const counts = variables.some((v) => v.kind === 'counter') && !l.trips
  let go: Value | undefined = going
  const steps = variables.map((v, i) => step(l, v, args[i]!, results[i]!, slots[i], inner))
  if (!l.trips && steps.every((s, i) => s.variable === variables[i])) {
    const again = n.call(l.cond, results, inner)[0]!
    go = again.kind === 'tensor' ? truth(again, inner) : undefined
  }
  for (const [i, slot] of slots.entries())
    if (slot?.refused) steps[i] = { variable: carried(n, l.init[i]!, slot.shape, b) }
  if (steps.some((s, i) => s.variable !== variables[i])) return { variables: steps.map((s) => s.variable) }
  if (!go || results.some((r) => r.kind === 'poison')) return { outs: l.init.map(() => ({ kind: 'poison' })) }

  const first = l.trips ? undefined : n.call(l.cond, l.init, b)[0]!
  if (first && first.kind !== 'tensor') return { outs: l.init.map(() => ({ kind: 'poison' })) }
  const loopVariables = steps.flatMap((s) => (s.variable.kind === 'carried' ? [s.variable] : []))
  const values = steps.flatMap((s) => (s.variable.kind === 'carried' ? [s.value!] : []))
  const items = steps.flatMap((s) => (s.variable.kind === 'scan' ? [s.value!] : []))
  const inits = loopVariables.map((v) => v.init)
  if (counts) {
    const count = inner.bodyInput('count', 'int64', [])
    values.push(inner.op('Add', [count, inner.int(1)]))
    inits.push(b.int(0))
  }
  const outer = (shape: Shape | undefined, free?: ReadonlySet<number>): Shape | undefined =>
    shape?.map((d, i): Dim => (!free?.has(i) && b.sees(d) ? d : b.fresh()))
  const rows = l.trips?.part?.[0] ?? b.fresh()
  const loop = (): readonly Value[] =>
    b.ops(
      'Loop',
      // a Loop has two inputs at least
      [l.trips, first ? truth(first, b) : inits.length === 0 ? b.scalar('bool', 1) : undefined, ...inits],
      { body: inner.close(`${b.at} body`, [go, ...values, ...items]) },
      values.length + items.length,
      [
        ...loopVariables.map((v) => ({
          dtype: v.init.dtype,
          shape: outer(v.shape, v.free),
          ...(v.as === 'sequence' && { sequence: true }),
        })),
        ...(counts ? [{ dtype: 'int64' as const, shape: [] }] : []),
        ...items.map((v) => ({ dtype: v.dtype, shape: v.shape && [rows, ...outer(v.shape)!] })),
      ],
    )
  const names = steps.flatMap((s, i) => (s.variable.kind === 'carried' ? [inside[i]!] : []))
  const cells =
    l.trips &&
    fuse(
      {
        inner,
        iteration,
        trips: l.trips,
        carried: inits.map((init, i) => ({ before: names[i]!, after: values[i]!, init })),
        items,
      },
      b,
    )
  const outs = cells ? [...cells.finals, ...cells.scans] : loop()
  const trips = l.trips ?? outs[loopVariables.length]
  const finals = outs.slice(0, loopVariables.length)
  const scans = outs.slice(values.length)
  return {
    outs: steps.map(({ variable: v }, i): Out => {
      if (v.kind === 'invariant') return l.init[i]!
      if (v.kind === 'counter') return counted(v, trips!, b)
      if (v.kind === 'scan') return listHandle(n, collected(v.list, slots[i]!, scans.shift()!, b))
      const value = finals.shift()!
      if (v.as === 'tensor') return value
      return listHandle(n, {
        ...v.list!,
        ...(v.as === 'dense' && { elem: value.shape?.slice(1) }),
        content: { kind: v.as, value },
      })
    }),
  }
}

/** start + step × iteration, in the counter's own dtype. */
function counted(c: Counter, iteration: Value, b: Builder): Value {
  const dtype = c.start.dtype as 'int32' | 'int64'
  const steps =
    c.step === 1 ? b.cast(iteration, dtype) : b.op('Mul', [b.cast(iteration, dtype), b.scalar(dtype, c.step)])
  return constNumber(c.start) === 0 ? steps : b.op('Add', [c.start, steps])
}

function countedValue(c: Counter, iteration: Value, counting: Map<string, number>, b: Builder): Value {
  const value = counted(c, iteration, b)
  const start = constNumber(c.start)
  if (c.step === 1 && start !== undefined && start >= 0) counting.set(value.name, start)
  return value
}

interface Step {
  /** the same object while the guess holds */
  readonly variable: Variable
  /** what the body hands to the next iteration, or the element it wrote */
  readonly value?: Value
}

/** Compares a guess with what the body did. */
function step(l: Loop, v: Variable, arg: Out, result: Out, slot: ScanSlot | undefined, inner: Builder): Step {
  if (v.kind === 'invariant' || v.kind === 'counter' || result.kind === 'poison') return { variable: v }
  if (result === arg || (result.kind === 'tensor' && arg.kind === 'tensor' && result.name === arg.name))
    return { variable: { kind: 'invariant' } }
  const list = asList(result)
  if (v.kind === 'scan') {
    const content = list?.content
    if (content?.kind === 'scan' && content.slot === slot && content.item) return { variable: v, value: content.item }
    slot!.refused = true
    return { variable: v }
  }
  if (v.as === 'tensor') {
    if (result.kind !== 'tensor')
      throw unsupported(l.n, 'a loop variable of one kind', `a tensor that becomes a ${result.kind}`)
    return widened(v, result)
  }
  if (!list) throw unsupported(l.n, 'a loop variable of one kind', `a list that becomes a ${result.kind}`)
  if (list.content.kind === 'scan') {
    refuse(list)
    return { variable: v }
  }
  const value = v.as === 'dense' && list.content.kind !== 'sequence' ? dense(list, inner) : undefined
  if (value) return widened(v, value)
  if (v.as === 'dense') return { variable: asSequence(v.list!, l.b) }
  return { variable: v, value: sequence(list, inner)! }
}

/** A dimension that the body changes is free from then on; a changed rank is unknown. */
function widened(v: Variable & { kind: 'carried' }, result: Value): Step {
  if (!v.shape) return { variable: v, value: result }
  if (result.shape?.length !== v.shape.length) return { variable: { ...v, shape: undefined } }
  const changed = v.shape.flatMap((d, i) => (v.free.has(i) || d === result.shape![i] ? [] : [i]))
  if (changed.length === 0) return { variable: v, value: result }
  const free = new Set([...v.free, ...changed])
  return { variable: { ...v, free, shape: v.shape.map((d, i) => (changed.includes(i) ? `${v.init.name}.${i}` : d)) } }
}

/** The list after the loop: what was collected, between what was reserved before and after it. */
function collected(list: TensorList, slot: ScanSlot, value: Value, b: Builder): TensorList {
  const elem = meet(list.elem, value.shape?.slice(1))
  const dense = (v: Value): TensorList => ({ ...list, elem, content: { kind: 'dense', value: v } })
  const lead = slot.at === 'end' ? lengthOf(list, b) : b.int(slot.at!)
  const before = constNumber(lead)
  const rest = b.op('Shape', [value], { start: 1 })
  const whole = before === 0 ? value : b.concat([zeros(list.dtype, b.concat([vector(lead, b), rest], 0), b), value], 0)
  if (slot.at === 'end') return dense(whole)
  const reserved = vector(lengthOf(list, b), b)
  return dense(padded(whole, slot.grows ? b.op('Max', [reserved, b.dim(whole, 0)]) : reserved, b))
}
