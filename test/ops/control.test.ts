import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type GraphDef, graphOf } from '../../packager/formats/graphdef.ts'
import { decode } from '../../packager/formats/protobuf.ts'
import type { Ref, TfFunction, TfGraph, TfNode } from '../../packager/graph.ts'
import { importSignature } from '../../packager/import.ts'
import { isGraph, type OnnxGraph } from '../../packager/onnx/value.ts'
import { structured } from '../../packager/structure/index.ts'
import { isAppError } from '../../src/errors.ts'
import { tensor } from '../../src/tensor.ts'
import { random } from '../fuzz/mutate.ts'

interface Vector {
  readonly name: string
  readonly pb: string
  readonly inputs: Readonly<Record<string, { dtype: 'float32'; shape: number[] }>>
  readonly outputs: Readonly<Record<string, { dtype: 'float32' }>>
}

const vectors = (family: string): Vector[] =>
  JSON.parse(readFileSync(join(import.meta.dirname, `../fixtures/ops/${family}.json`), 'utf8')).cases
const graphOfVector = (v: Vector): TfGraph =>
  graphOf(decode<GraphDef>('tensorflow.GraphDef', Buffer.from(v.pb, 'base64'), v.name))

function imported(graph: TfGraph, inputs: readonly string[], outputs: readonly string[]): OnnxGraph {
  const model = {
    graph: structured(graph),
    signatures: {},
    variable: () => assert.fail('these graphs have no variables'),
    assets: new Map(),
  }
  const infos = (names: readonly string[]) =>
    Object.fromEntries(names.map((n) => [n, { tensor: n, dtype: 'float32' as const, shape: undefined }]))
  return importSignature(model, 'test', { method: '', inputs: infos(inputs), outputs: infos(outputs) }).graph
}

/** Operator types, inner graphs included. */
function types(g: OnnxGraph): string[] {
  return g.nodes.flatMap((n) => [n.type, ...Object.values(n.attrs).flatMap((a) => (isGraph(a) ? types(a) : []))])
}

/** The recurrent operators that a case becomes; Loop where its cell is not one of ONNX's. */
const CELLS: Readonly<Record<string, readonly string[]>> = {
  LSTM: ['LSTM'],
  LSTM_sequences_states: ['LSTM'],
  LSTM_backwards: ['LSTM'],
  LSTM_forget: ['LSTM'],
  LSTM_softsign: ['LSTM'],
  LSTM_gelu: ['Loop'],
  GRU: ['GRU'],
  GRU_before: ['GRU'],
  GRU_no_bias: ['GRU'],
  SimpleRNN: ['RNN'],
  Bidirectional: ['LSTM', 'LSTM'],
  RNN_stacked: ['LSTM', 'LSTM'],
  RNN_mixed: ['GRU', 'LSTM'],
  RNN_custom: ['Loop'],
  SimpleRNN_linear: ['RNN'],
  LSTM_activations: ['LSTM'],
  masked: ['LSTM'],
}

test('loops of known cells become recurrent operators', () => {
  const cases = [...vectors('recurrent'), ...vectors('recurrentlayers')]
  for (const [name, expected] of Object.entries(CELLS)) {
    const v = cases.find((c) => c.name === name)
    assert.ok(v, name)
    const graph = graphOfVector(v)
    // the declared shapes say how many steps and features there are
    const shape = (input: string) => {
      const a = graph.nodes.get(input.split(':')[0]!)?.attrs.shape
      return typeof a === 'object' && 'shape' in a ? a.shape : undefined
    }
    const model = { graph, signatures: {}, variable: () => assert.fail('frozen'), assets: new Map() }
    const inputs = Object.keys(v.inputs).map((n) => [n, { tensor: n, dtype: 'float32' as const, shape: shape(n) }])
    const outputs = Object.keys(v.outputs).map((n) => [n, { tensor: n, dtype: 'float32' as const, shape: undefined }])
    const signature = { method: '', inputs: Object.fromEntries(inputs), outputs: Object.fromEntries(outputs) }
    const found = types(importSignature(model, name, signature).graph)
    assert.deepEqual(found.filter((t) => /^(LSTM|GRU|RNN|Loop)$/.test(t)).sort(), [...expected].sort(), name)
  }
})

const ref = (node: string, index = 0): Ref => ({ node, index })
const node = (
  name: string,
  op: string,
  inputs: Ref[] = [],
  attrs: TfNode['attrs'] = {},
  control: string[] = [],
): TfNode => ({
  name,
  op,
  inputs,
  control,
  attrs,
})
const scalar = (
  name: string,
  value: number,
  dtype: 'float32' | 'bool' | 'int32' = 'float32',
  control: string[] = [],
) => {
  const data =
    dtype === 'float32' ? Float32Array.of(value) : dtype === 'bool' ? Uint8Array.of(value) : Int32Array.of(value)
  return node(name, 'Const', [], { value: { tensor: tensor(dtype, [], data) } }, control)
}
const graph = (nodes: TfNode[], functions: TfFunction[] = []): TfGraph => ({
  nodes: new Map(nodes.map((n) => [n.name, n])),
  functions: new Map(functions.map((f) => [f.name, f])),
})
const unary = (name: string, op: string): TfFunction => ({
  name,
  args: [{ name: 'a', dtype: 'float32' }],
  returns: [{ name: 'r', ref: ref('y') }],
  nodes: new Map([['y', node('y', op, [ref('a')])]]),
})

test('of a conditional with a constant predicate only the taken branch is left', () => {
  const functions = [unary('yes', 'Exp'), unary('no', 'RemoteCall')]
  const attrs = { then_branch: { func: 'yes', attrs: {} }, else_branch: { func: 'no', attrs: {} } }
  const nodes = [node('x', 'Placeholder'), scalar('p', 1, 'bool'), node('if', 'If', [ref('p'), ref('x')], attrs)]
  assert.deepEqual(types(imported(graph(nodes, functions), ['x:0'], ['if:0'])), ['Exp'])
})

test('a branch of constants belongs to its conditional by control edges', () => {
  const nodes = [
    node('p', 'Placeholder'),
    node('c', 'Cast', [ref('p')], { SrcT: { dtype: 'float32' }, DstT: { dtype: 'bool' } }),
    node('s', 'Switch', [ref('c'), ref('c')]),
    node('t', 'Identity', [ref('s', 1)]),
    node('f', 'Identity', [ref('s', 0)]),
    scalar('one', 1, 'float32', ['t']),
    scalar('two', 2, 'float32', ['f']),
    node('m', 'Merge', [ref('two'), ref('one')]),
  ]
  const found = structured(graph(nodes))
  const made = found.nodes.get('m conditional')
  assert.equal(made?.op, 'If')
  const branches = [made?.attrs.then_branch, made?.attrs.else_branch].map((a) => {
    assert.ok(typeof a === 'object' && 'func' in a)
    return [...found.functions.get(a.func)!.nodes.keys()]
  })
  assert.deepEqual(branches, [['one'], ['two']])
  assert.ok(types(imported(graph(nodes), ['p:0'], ['m:0'])).includes('If'))
})

test('what a loop never changes stays constant inside', () => {
  const v = vectors('structure').find((c) => c.name === 'Enter_loop')!
  const g = imported(graphOfVector(v), Object.keys(v.inputs), Object.keys(v.outputs))
  const loop = g.nodes.find((n) => n.type === 'Loop')!
  // trip count, no condition, and the one value that changes; the counter is computed from the iteration
  assert.deepEqual([loop.inputs.length, loop.inputs[1]], [3, ''])
})

test('results of a loop that nobody reads are not computed', () => {
  const v = vectors('rnncells').find((c) => c.name === 'BlockLSTM_1.0_0.0_False_2')!
  const g = imported(graphOfVector(v), Object.keys(v.inputs), Object.keys(v.outputs).slice(0, 1))
  const loop = g.nodes.find((n) => n.type === 'Loop')!
  // of seven stacked results one is asked for; the two states are carried all the same
  assert.deepEqual([loop.inputs.length, loop.outputs.length], [4, 3])
})

test('damaged control flow ends in an error of ours', () => {
  const next = random(17)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!
  const cases = vectors('structure').filter((v) => Object.values(v.inputs).every((t) => t.dtype === 'float32'))
  const ops = ['Switch', 'Merge', 'Enter', 'Exit', 'NextIteration', 'LoopCond', 'Identity', '_SwitchN', 'While', 'If']
  for (let i = 0; i < 400; i++) {
    const v = pick(cases)
    const nodes = new Map(graphOfVector(v).nodes)
    for (let k = 1 + Math.floor(next() * 3); k > 0; k--) {
      const n = pick([...nodes.values()])
      const inputs = [...n.inputs]
      const moves = [
        () => nodes.set(n.name, { ...n, inputs: inputs.slice(1) }),
        () => nodes.set(n.name, { ...n, inputs: inputs.reverse() }),
        () => nodes.set(n.name, { ...n, op: pick(ops) }),
        () => nodes.set(n.name, { ...n, attrs: {} }),
        () =>
          nodes.set(n.name, { ...n, inputs: inputs.map(() => ref(pick([...nodes.keys()]), Math.floor(next() * 3))) }),
        () => nodes.set(n.name, { ...n, control: [pick([...nodes.keys()])] }),
      ]
      pick(moves)()
    }
    try {
      imported({ nodes, functions: new Map() }, Object.keys(v.inputs), Object.keys(v.outputs))
    } catch (e) {
      assert.ok(isAppError(e) && e.code !== 'INTERNAL', `${v.name}: ${e instanceof Error ? e.stack : e}`)
    }
  }
})
