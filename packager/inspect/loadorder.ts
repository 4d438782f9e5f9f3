import type { GraphDef, NodeDef } from '../formats/graphdef.ts'

type FunctionDef = NonNullable<NonNullable<GraphDef['library']>['function']>[number]

/**
 * The names that functions have after `tf.saved_model.load`: `__inference_NAME_NUMBER`. Listings are sorted by them as text, so the
 * number decides the order of a function's options. It counts everything the loader made before in a fresh process: one for the load,
 * and for each function in the order of loading one for its graph, one for each tensor in it, and one for the name.
 */
export function loadedNames(def: GraphDef): Map<string, string> {
  const functions = def.library?.function ?? []
  const byName = new Map(functions.map((f) => [f.signature.name, f]))
  let uid = 2 + (def.library?.registered_gradients?.length ?? 0)
  const out = new Map<string, string>()
  for (const f of inLoadOrder(functions, def)) {
    uid += 1 + (f.signature.input_arg?.length ?? 0)
    for (const n of f.node_def ?? []) uid += outputs(n, byName)
    const name = f.signature.name
    const clean = /^__inference_(.*)_\d+$/s.exec(name)?.[1] ?? name
    out.set(name, `__inference_${clean}_${uid++}`)
  }
  return out
}

/** Callees first: TensorFlow's topological sort, which takes the last of what is ready (_sort_function_defs). */
function inLoadOrder(functions: readonly FunctionDef[], def: GraphDef): FunctionDef[] {
  const byName = new Map(functions.map((f) => [f.signature.name, f]))
  const gradients = new Map(
    (def.library?.registered_gradients ?? []).map((g) => [g.registered_op_type, g.gradient_func]),
  )
  const callers = new Map<string, string[]>()
  const waiting = new Map<string, number>()
  for (const f of functions) {
    const name = f.signature.name
    const callees = new Set((f.node_def ?? []).flatMap((n) => calls(n, byName, gradients)))
    waiting.set(name, callees.size)
    for (const c of callees) callers.set(c, [...(callers.get(c) ?? []), name])
  }
  const ready = functions.map((f) => f.signature.name).filter((name) => waiting.get(name) === 0)
  const out: FunctionDef[] = []
  for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
    out.push(byName.get(name)!)
    for (const caller of callers.get(name) ?? []) {
      const left = waiting.get(caller)! - 1
      waiting.set(caller, left)
      if (left === 0) ready.push(caller)
    }
  }
  return out
}

function calls(
  n: NodeDef,
  functions: ReadonlyMap<string, FunctionDef>,
  gradients: ReadonlyMap<string, string>,
): string[] {
  if (functions.has(n.op)) return [n.op]
  const type = n.attr?._gradient_op_type?.s
  const gradient = type instanceof Uint8Array ? gradients.get(Buffer.from(type).toString()) : undefined
  if (gradient && n.op !== 'PartitionedCall' && n.op !== 'StatefulPartitionedCall') return [gradient]
  return Object.values(n.attr ?? {}).flatMap((a) => {
    const list = (a.list as { func?: { name: string }[] } | undefined)?.func ?? []
    const one = a.func as { name: string } | undefined
    return [...(one?.name ? [one.name] : []), ...list.map((f) => f.name)].filter((name) => functions.has(name))
  })
}

/** Ops with another number of outputs than one: the number, or attributes that are it or lists of as many; `1` is one more. */
const OUTPUTS: Readonly<Record<string, number | string>> = {
  ...named(
    0,
    'NoOp Assert AssignVariableOp AssignAddVariableOp AssignSubVariableOp MergeV2Checkpoints DisableCopyOnRead SaveV2 Save',
  ),
  ...named(
    0,
    'LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2 InitializeTableV2 InitializeTableFromTextFileV2 PrintV2',
  ),
  ...named(
    0,
    'WriteFile ResourceScatterUpdate ResourceScatterAdd ResourceScatterNdUpdate ResourceApplyGradientDescent RngReadAndSkip',
  ),
  ...named(
    0,
    'ResourceApplyAdam ResourceApplyMomentum ResourceApplyKerasMomentum ResourceApplyRMSProp ResourceApplyAdagradV2',
  ),
  ...named(
    2,
    'TopK TopKV2 Unique UniqueV2 Switch Merge RefSwitch RefMerge Qr Eig SelfAdjointEigV2 TensorArrayV3 TensorListPopBack',
  ),
  ...named(
    2,
    'MaxPoolWithArgmax SparseReshape SparseReorder BroadcastGradientArgs ListDiff CTCLoss CTCLossV2 NonMaxSuppressionV4',
  ),
  ...named(
    2,
    'SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits TensorListConcat TensorListConcatV2 RaggedRange',
  ),
  ...named(
    2,
    'StringNGrams LookupTableExportV2 TensorArrayConcatV3 StatelessRandomGetKeyCounter UnicodeDecode Lu DecodeWav',
  ),
  ...named(
    3,
    'SparseAdd StringSplit StringSplitV2 NonMaxSuppressionV5 UniqueWithCounts UniqueWithCountsV2 Svd SparseConcat SparseSlice',
  ),
  ...named(
    3,
    'RaggedTensorToSparse UnicodeDecodeWithOffsets SparseCross SparseCrossV2 StatelessRandomGetKeyCounterAlg',
  ),
  ...named(3, 'DenseCountSparseOutput SparseCountSparseOutput RaggedCountSparseOutput SampleDistortedBoundingBoxV2'),
  ...named(4, 'SparseFillEmptyRows CTCGreedyDecoder CombinedNonMaxSuppression CudnnRNN GRUBlockCell'),
  ...named(5, 'FusedBatchNorm FusedBatchNormV2 CudnnRNNV3 FusedBatchNormGradV3'),
  ...named(6, 'FusedBatchNormV3'),
  ...named(7, 'BlockLSTM BlockLSTMV2 LSTMBlockCell'),
  ...named(
    'Tout',
    'PartitionedCall StatefulPartitionedCall If StatelessIf Case StatelessCase PyFunc EagerPyFunc RemoteCall BatchFunction',
  ),
  ...named('T', 'While StatelessWhile For IdentityN'),
  ...named('num_split', 'Split SplitV'),
  ...named('dtypes', 'RestoreV2'),
  ...named('output_types', 'IteratorGetNext OptionalGetValue'),
  Unpack: 'num',
  ShapeN: 'N',
  ConcatOffset: 'N',
  DynamicPartition: 'num_partitions',
  DecodeCSV: 'OUT_TYPE',
  RaggedTensorFromVariant: 'output_ragged_rank 1',
  RaggedGather: 'OUTPUT_RAGGED_RANK 1',
  ParseExample: 'Nsparse sparse_types Nsparse Tdense',
  ParseExampleV2: 'num_sparse sparse_types num_sparse Tdense ragged_value_types ragged_split_types',
}

function named(outputs: number | string, ops: string): Record<string, number | string> {
  return Object.fromEntries(ops.split(' ').map((op) => [op, outputs]))
}

function outputs(n: NodeDef, functions: ReadonlyMap<string, FunctionDef>): number {
  const called = functions.get(n.op)
  if (called) return called.signature.output_arg?.length ?? 0
  const rule = Object.hasOwn(OUTPUTS, n.op) ? OUTPUTS[n.op]! : 1
  if (typeof rule === 'number') return rule
  return rule.split(' ').reduce((sum, part) => sum + (part === '1' ? 1 : count(n, part)), 0)
}

function count(n: NodeDef, attr: string): number {
  const a = n.attr?.[attr]
  const list = a?.list as Record<string, unknown[]> | undefined
  return list ? Math.max(0, ...Object.values(list).map((v) => v.length)) : Number(String(a?.i ?? 0))
}
