import type { Builder } from '../onnx/builder.ts'
import type { OnnxNode, Value } from '../onnx/value.ts'
import { isZero, type Skips } from './lengths.ts'

type Producers = ReadonlyMap<string, OnnxNode>

/** Ops that only repeat a mask for every unit of a state. */
const REPEATS = new Set(['Tile', 'Expand', 'Identity'])

interface Masked {
  /** the mask of all steps, by name: [steps, batch, 1] */
  readonly mask: string
  /** where the mask holds, and where it does not */
  readonly live: string
  readonly kept: string
}

/**
 * Keras' masks: Where(mask[t], new, old). A masked step leaves no trace in the states, so the cell runs over the steps that are left, moved
 * to the front, and an item is the output of the last of them so far.
 */
export function masksOf(
  states: readonly { readonly before: string; readonly after: string }[],
  producers: Producers,
  counts: (name: string) => boolean,
  b: Builder,
): Skips | undefined {
  const found = (name: string): Masked | undefined => {
    const where = producers.get(name)
    if (where?.type !== 'Where') return undefined
    let read = producers.get(where.inputs[0]!)
    while (read && REPEATS.has(read.type)) read = producers.get(read.inputs[0]!)
    if (read?.type !== 'Gather' || read.attrs.axis !== 0 || !counts(read.inputs[1]!)) return undefined
    return { mask: read.inputs[0]!, live: where.inputs[1]!, kept: where.inputs[2]! }
  }
  const first = found(states[0]?.after ?? '')
  if (!first) return undefined
  const mask = b.valueNamed(first.mask)
  if (mask?.dtype !== 'bool' || mask.shape?.length !== 3 || mask.shape[2] !== 1) return undefined
  if (!states.every((s) => found(s.after)?.mask === first.mask && found(s.after)?.kept === s.before)) return undefined
  const rows = new Rows(mask, b)
  return {
    lens: rows.count(),
    state: (name) => found(name)?.live,
    item: (name) => {
      const m = found(name)
      if (m?.mask !== first.mask) return undefined
      if (states.some((s) => s.after === name)) return { live: m.live, spread: (all) => rows.spread(all, false) }
      const zero = producers.get(m.kept)
      const isZeros =
        zero?.type === 'Expand'
          ? Number(b.constantNamed(zero.inputs[0]!)?.data[0]) === 0
          : isZero(b.valueNamed(m.kept), b)
      return isZeros ? { live: m.live, spread: (all) => rows.spread(all, true) } : undefined
    },
    prepare: (x) => rows.compact(x),
  }
}

/** Moves steps by a mask; works on [batch, steps, …], as each sequence has its own. */
class Rows {
  private readonly mask: Value
  private readonly b: Builder

  constructor(mask: Value, b: Builder) {
    this.mask = b.transpose(b.squeeze(mask, [2]), [1, 0])
    this.b = b
  }

  count(): Value {
    return this.b.op('ReduceSum', [this.b.cast(this.mask, 'int64'), this.b.ints([1])], { keepdims: 0 })
  }

  /** The steps that the mask leaves, in order, before the others. */
  compact(x: Value): Value {
    const { b, mask } = this
    const steps = b.dim(mask, 1)
    const at = b.op('Range', [b.int(0), b.reshape(steps, []), b.int(1)])
    const keys = b.op('Where', [mask, at, b.op('Add', [at, steps])])
    const [, order] = b.ops('TopK', [keys, steps], { axis: 1, largest: 0, sorted: 1 }, 2)
    return this.pick(x, order!)
  }

  /** What each step shows: the output of the last step so far that the mask left, zeros before the first, or at every masked one. */
  spread(all: Value, zero: boolean): Value {
    const { b, mask } = this
    const seen = b.op('CumSum', [b.cast(mask, 'int64'), b.int(1)])
    const last = b.op('Max', [b.op('Sub', [seen, b.int(1)]), b.int(0)])
    const shown = zero ? mask : b.op('Greater', [seen, b.int(0)])
    const where = b.unsqueeze(b.transpose(shown, [1, 0]), [2])
    return b.op('Where', [where, this.pick(all, last), b.scalar(all.dtype, 0)])
  }

  /** [steps, batch, …] → the same with steps chosen for each sequence by [batch, steps]. */
  private pick(x: Value, at: Value): Value {
    const { b } = this
    const rows = b.transpose(x, [1, 0, 2])
    const chosen = b.op('GatherND', [rows, b.unsqueeze(at, [2])], { batch_dims: 1 })
    return b.as(b.transpose(chosen, [1, 0, 2]), { shape: x.shape })
  }
}
