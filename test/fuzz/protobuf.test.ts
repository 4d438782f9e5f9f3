import { describe } from 'node:test'
import { fuzzModels } from './models.ts'

describe('damaged protocol buffers', () =>
  fuzzModels([
    { model: 'tf1_builder', file: 'saved_model.pb', runs: 80 },
    { model: 'tf2_module', file: 'saved_model.pb', runs: 80 },
    { model: 'tf2_no_signature', file: 'saved_model.pb', runs: 80 },
    { model: 'tf2_tables', file: 'saved_model.pb', runs: 50 },
    { model: 'tf1_partitioned', file: 'saved_model.pb', runs: 50 },
    { model: 'frozen', file: 'frozen.pb', open: 'frozen.pb', runs: 150 },
    { model: 'tf1_checkpoint', file: 'model.ckpt.meta', runs: 30 },
    { model: 'onnx_opset9', file: 'model.onnx', open: 'model.onnx', runs: 200 },
    { model: 'onnx_external', file: 'model.onnx', open: 'model.onnx', runs: 150 },
    { model: 'tfjs_tables', file: 'model.json', runs: 80 },
    { model: 'tfjs_graph', file: 'group1-shard1of2.bin', runs: 30 },
  ]))
