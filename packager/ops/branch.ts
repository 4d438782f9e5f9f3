import { Builder } from '../onnx/builder.ts'
import { constNumber, constStrings, type Dim, type Shape, type Value } from '../onnx/value.ts'
import { asList, dense, LIST, listHandle, meet, refuse, sequence, type TensorList } from './lists.ts'
import { type AnyNode, type Out, unsupported } from './op.ts'

/** TensorFlow's truth of a predicate: a scalar that is not zero or not empty, a tensor that has elements. */
export function truth(v: Value, b: Builder): Value {
  if (v.shape?.length !== 0 && v.shape !== undefined) return b.op('Greater', [b.op('Size', [v]), b.int(0)])
  if (v.dtype === 'string') {
    const known = constStrings(v)
    if (known) return b.scalar('bool', known[0] === '' ? 0 : 1)
    return b.op('Not', [b.op('Equal', [v, b.const({ dtype: 'string', shape: [], data: [''] })])])
  }
  return b.cast(v, 'bool')
}

/** One of two bodies, chosen at run time; where the predicate is constant, the chosen one is emitted in place. */
export function branch(
  n: AnyNode,
  pred: Value,
  bodies: { readonly yes: (b: Builder) => readonly Out[]; readonly no: (b: Builder) => readonly Out[] },
  b: Builder,
): readonly Out[] {
  const known = constNumber(pred)
  if (known !== undefined) return known ? bodies.yes(b) : bodies.no(b)
  const [t, e] = [new Builder(b), new Builder(b)]
  const [yes, no] = [bodies.yes(t), bodies.no(e)]
  const values: [Value, Value][] = []
  const finish = yes.map((y, i) => joined(n, y, no[i]!, t, e, b, values))
  if (values.length === 0) return finish.map((f) => f([]))
  const outs = b.ops(
    'If',
    [pred],
    {
      then_branch: t.close(
        `${b.at} then`,
        values.map(([v]) => v),
      ),
      else_branch: e.close(
        `${b.at} else`,
        values.map(([, v]) => v),
      ),
    },
    values.length,
    values.map(([v, w]) => ({
      dtype: v.dtype,
      shape: common(v.shape, w.shape, b),
      ...(v.sequence && { sequence: true }),
    })),
  )
  return finish.map((f) => f(outs))
}

/** What both shapes say, in terms that hold outside of the branches. */
function common(x: Shape | undefined, y: Shape | undefined, b: Builder): Shape | undefined {
  if (!x || !y || x.length !== y.length) return undefined
  return x.map((d, i): Dim => (d === y[i] && b.sees(d) ? d : b.fresh()))
}

type Finish = (outs: readonly Value[]) => Out

/** How one pair of results becomes one; tensors it needs from the If are added to `values`. */
function joined(n: AnyNode, y: Out, e: Out, yes: Builder, no: Builder, b: Builder, values: [Value, Value][]): Finish {
  const merge = (v: Value, w: Value): ((outs: readonly Value[]) => Value) => {
    const at = values.push([v, w]) - 1
    return (outs) => outs[at]!
  }
  if (y === e) return () => y
  if (y.kind === 'poison' || e.kind === 'poison') return () => ({ kind: 'poison' })
  if (y.kind === 'tensor' && e.kind === 'tensor') return y.name === e.name ? () => y : merge(y, e)
  const [p, q] = [asList(y), asList(e)]
  if (!p || !q) throw unsupported(n, 'the same kind of value from both branches', `${describe(y)} and ${describe(e)}`)
  const elem = p.elem && q.elem ? p.elem.map((d, i) => (q.elem![i] === d ? d : b.fresh())) : undefined
  const list = (content: TensorList['content']): Out =>
    listHandle(n, { ...p, elem: p.elem?.length === q.elem?.length ? elem : undefined, content })
  if (p.content.kind === 'scan' || q.content.kind === 'scan') {
    if (p.content.kind === 'scan' && q.content.kind === 'scan' && p.content.slot === q.content.slot) {
      const { slot } = p.content
      if (!p.content.item && !q.content.item) return () => y
      if (p.content.item && q.content.item) {
        const pick = merge(p.content.item, q.content.item)
        return (outs) => list({ kind: 'scan', slot, item: pick(outs) })
      }
    }
    refuse(p)
    refuse(q)
    return () => ({ kind: 'poison' })
  }
  const both = { elem: meet(p.elem, q.elem) }
  const [v, w] = [dense({ ...p, ...both }, yes), dense({ ...q, ...both }, no)]
  if (v && w && p.content.kind !== 'sequence' && q.content.kind !== 'sequence') {
    const pick = merge(v, w)
    return (outs) => list({ kind: 'dense', value: pick(outs) })
  }
  const pick = merge(sequence(p, yes)!, sequence(q, no)!)
  return (outs) => list({ kind: 'sequence', value: pick(outs) })
}

function describe(o: Out): string {
  if (o.kind !== 'handle') return `a ${o.kind}`
  return o.type === LIST ? 'a tensor list' : `a ${o.type}`
}
