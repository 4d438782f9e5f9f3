import type { TfShape } from '../graph.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumber } from '../onnx/value.ts'
import { branch, truth } from './branch.ts'
import { withShape } from './core.ts'
import { zeros } from './lists.ts'
import { emitLoop } from './loop.ts'
import { type FuncAttr, type OpRow, type OpTable, type Out, op, unsupported } from './op.ts'

const conditional: OpRow = op({
  in: ['cond'],
  attrs: { then_branch: 'func', else_branch: 'func', output_shapes: null },
  emit: (n, b) => {
    const args = n.inputs.slice(1)
    const bodies = {
      yes: (inner: Builder) => n.call(n.attrs.then_branch, args, inner),
      no: (inner: Builder) => n.call(n.attrs.else_branch, args, inner),
    }
    return shaped(branch(n, truth(n.in.cond, b), bodies, b), n.attrs.output_shapes, b)
  },
})

/** An index outside of the branches takes the last. */
const cases: OpRow = op({
  in: ['branch_index'],
  attrs: { branches: 'funcs', output_shapes: null },
  emit: (n, b) => {
    const args = n.inputs.slice(1)
    const last = n.attrs.branches.length - 1
    const known = constNumber(n.in.branch_index)
    if (known !== undefined) return n.call(n.attrs.branches[known < 0 || known > last ? last : known]!, args, b)
    const from = (i: number, at: Builder): readonly Out[] => {
      if (i === last) return n.call(n.attrs.branches[i]!, args, at)
      const here = at.op('Equal', [n.in.branch_index, at.scalar('int32', i)])
      const yes = (inner: Builder) => n.call(n.attrs.branches[i]!, args, inner)
      return branch(n, here, { yes, no: (inner) => from(i + 1, inner) }, at)
    }
    return shaped(from(0, b), n.attrs.output_shapes, b)
  },
})

const loop: OpRow = op({
  in: [],
  attrs: { cond: 'func', body: 'func', output_shapes: null },
  emit: (n, b) => {
    const shapes = shapesOf(n.attrs.output_shapes)
    const init = n.inputs.map((v, i) => (v.kind === 'tensor' && !v.shape ? withShape(v, shapes[i], b) : v))
    return shaped(emitLoop(n, n.attrs.cond as FuncAttr, n.attrs.body as FuncAttr, init, b), n.attrs.output_shapes, b)
  },
})

const shapesOf = (attr: unknown): readonly TfShape[] => (Array.isArray(attr) ? (attr as TfShape[]) : [])

/** TensorFlow may know more of the shapes than what the branches or the loop tell. */
function shaped(outs: readonly Out[], attr: unknown, b: Builder): readonly Out[] {
  const shapes = shapesOf(attr)
  return outs.map((v, i) => (v.kind === 'tensor' && !v.sequence ? withShape(v, shapes[i], b) : v))
}

const refused: OpRow = op({
  in: [],
  note: 'refused, with the reason',
  emit: (n) => {
    throw unsupported(n, 'a graph for inference on one machine', `${n.op}, which ${WHY[n.op]}`)
  },
})
const WHY: Readonly<Record<string, string>> = {
  RemoteCall: 'runs a function on another device',
  SymbolicGradient: 'computes gradients for training',
}

/** Conditionals and loops whose bodies are functions. The older kind, of Switch, Merge and Enter, is made into these beforehand. */
export const CONTROL = {
  If: conditional,
  StatelessIf: conditional,
  Case: cases,
  StatelessCase: cases,
  While: loop,
  StatelessWhile: loop,
  // which kind of device runs this: of Keras 2's recurrent layers it takes the branch that is not cuDNN's
  DeviceIndex: op({
    in: [],
    attrs: { device_names: 'strings' },
    emit: (n, b) => {
      const at = n.attrs.device_names.findIndex((d) => d.toUpperCase() === 'CPU')
      return b.scalar('int32', at < 0 ? n.attrs.device_names.length : at)
    },
  }),
  ToBool: op({ in: ['input'], emit: (n, b) => truth(n.in.input, b) }),
  // stands for a result that the other branch has and nobody reads when this one is taken
  FakeParam: op({
    in: [],
    attrs: { dtype: 'type', shape: 'shape' },
    emit: (n, b) => zeros(n.dtype('dtype'), b.ints((n.attrs.shape ?? []).map((d) => d ?? 0)), b),
  }),
  RemoteCall: refused,
  SymbolicGradient: refused,
} satisfies OpTable
