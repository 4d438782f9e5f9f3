import { describe } from 'node:test'
import { fuzzModels } from './models.ts'

describe('damaged text of protocol buffers', () =>
  fuzzModels([
    { model: 'tf1_text', file: 'saved_model.pbtxt', runs: 60 },
    { model: 'frozen', file: 'frozen.pbtxt', open: 'frozen.pbtxt', runs: 100 },
  ]))
