import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type GraphDef, graphOf } from '../../packager/formats/graphdef.ts'
import { decode } from '../../packager/formats/protobuf.ts'
import { OPS } from '../../packager/ops/index.ts'

const dir = fileURLToPath(new URL('../fixtures/ops/', import.meta.url))

/** Rows that no frozen graph can hold, with the place that tests them or the reason why nothing can. */
const MODELS = 'freezing removes variables and calls: test/contract/models.test.ts runs whole models'
const TABLES = 'restored and initialised tables: test/ops/tables.test.ts'
const NOTHING = 'does nothing at inference, so nothing fetched reaches it'
const ELSEWHERE: Readonly<Record<string, string>> = {
  ReadVariableOp: MODELS,
  VarHandleOp: MODELS,
  VariableV2: MODELS,
  Variable: 'the same row as VariableV2, under its first name',
  VariableShape: MODELS,
  VarIsInitializedOp: MODELS,
  IsVariableInitialized: MODELS,
  DisableCopyOnRead: NOTHING,
  AssignVariableOp: NOTHING,
  RefIdentity: 'reads a reference variable: test/contract/models.test.ts',
  PartitionedCall: MODELS,
  StatefulPartitionedCall: MODELS,
  ResourceGather: MODELS,
  ResourceGatherNd: MODELS,
  RestoreV2: TABLES,
  InitializeTableFromTextFileV2: TABLES,
  InitializeTableFromTextFile: TABLES,
  MutableDenseHashTableV2: TABLES,
  TensorArrayClose: NOTHING,
  TensorArrayCloseV2: NOTHING,
  TensorArrayCloseV3: NOTHING,
}

test('every operator has a vector that TensorFlow answered', () => {
  const seen = new Set<string>()
  for (const file of readdirSync(dir).filter((f) => f.endsWith('.json'))) {
    const { cases } = JSON.parse(readFileSync(`${dir}${file}`, 'utf8')) as { cases: { pb: string }[] }
    for (const c of cases) {
      const graph = graphOf(decode<GraphDef>('tensorflow.GraphDef', Buffer.from(c.pb, 'base64'), file))
      for (const nodes of [graph.nodes, ...[...graph.functions.values()].map((f) => f.nodes)])
        for (const n of nodes.values()) seen.add(n.op)
    }
  }
  assert.deepEqual(
    Object.keys(OPS)
      .filter((op) => !seen.has(op) && !(op in ELSEWHERE))
      .sort(),
    [],
  )
  assert.deepEqual(
    Object.keys(ELSEWHERE).filter((op) => !(op in OPS) || seen.has(op)),
    [],
    'listed, but not needed',
  )
})
