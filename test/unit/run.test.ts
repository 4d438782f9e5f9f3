import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readNpy, writeNpy } from '../../src/npy.ts'
import { cli, fixture, HERE } from '../fixtures/show/read.ts'

const MODEL = join(HERE, 'functions')
const run = (signature: string, ...args: string[]) =>
  cli('run', '--dir', MODEL, '--signature_def', signature, '-q', ...args)

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'modelayer-test-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

test('answers are printed as saved_model_cli prints them', async () => {
  const runs = fixture<{ args: string[]; text: string }>('runs.json')
  assert.ok(runs.length >= 7)
  for (const { args, text } of runs) {
    const got = await cli('run', '--dir', MODEL, '-q', ...args.slice(3))
    assert.deepEqual([got.code, got.out, got.err], [0, text, ''], args.slice(7).join(' ').slice(0, 200))
  }
})

test('commands written for saved_model_cli run as they are, with options cut short', async () => {
  const examples = join(HERE, '../../../examples')
  const serve = ['--tag_set', 'serve', '--signature_def', 'serving_default']
  const flowers =
    'SepalLength=[5.1,5.9,6.9];SepalWidth=[3.3,3.0,3.1];PetalLength=[1.7,4.2,5.4];PetalWidth=[0.5,1.5,2.1]'
  const iris = await cli('run', '-q', '--dir', join(examples, 'iris/model'), ...serve, '--input_expr', flowers)
  assert.match(
    iris.out,
    /^Result for output key class_ids:\n\[\[0\]\n \[1\]\n \[2\]\]\nResult for output key logits:\n\[\[/,
  )
  const image = 'input_image=np.random.rand(1,128,128,3)'
  const planet = await cli('run', '-q', '--dir', join(examples, 'planet/1'), ...serve, '--input_exp', image)
  const row = (n: number) => String.raw`\[\[(\s*[\d.e+-]+){${n}}\s*\]\]\n`
  assert.match(
    planet.out,
    new RegExp(`^Result for output key ground:\n${row(13)}Result for output key weather:\n${row(4)}$`),
  )
})

test('tags and signature may be left out where one fits, for any format', async () => {
  const got = await cli(
    'run',
    '-q',
    '--dir',
    join(HERE, '../models/keras_functional/model.keras'),
    '--input_exprs',
    'wrong=1',
  )
  assert.equal(got.code, 1)
  assert.match(got.err, /"wrong" is not a valid input key\. Please choose from "/)
  const onnx = await cli('show', '--json', '--dir', join(HERE, '../models/onnx_opset9/model.onnx'))
  const [[alias, { shape }]] = Object.entries<{ shape: number[] }>(
    JSON.parse(onnx.out).signatures.serving_default.inputs,
  ) as [[string, { shape: (number | null)[] }]]
  const ones = `${alias}=np.ones((${shape.map((d) => d ?? 1).join(',')},))`
  const ran = await cli('run', '-q', '--dir', join(HERE, '../models/onnx_opset9/model.onnx'), '--input_exprs', ones)
  assert.match(ran.out, /^Result for output key \S+:\n\[/, ran.err)
})

test('arrays from files; later options win', async (t) => {
  const dir = folder(t)
  const file = join(dir, 'x.npy')
  writeFileSync(file, writeNpy({ dtype: 'float64', shape: [2], data: Float64Array.of(3, 4) }))
  const text = 'Result for output key half:\n[1.5 2. ]\nResult for output key twice:\n[6. 8.]\n'
  assert.equal((await run('twice', '--inputs', `x=${file}`)).out, text)
  const named = await run('twice', '--inputs', `x=${file}[ignored]`)
  assert.deepEqual([named.code, named.out], [0, text])
  assert.match(named.err, /contains a single ndarray\. Name key "ignored" ignored/)
  const npz = join(dir, 'a.npz')
  const zip = fixture<{ name: string; b64: string }>('npy.json').find((f) => f.name === 'npz')!
  writeFileSync(npz, Buffer.from(zip.b64, 'base64'))
  assert.match((await run('twice', '--inputs', `x=${npz}[y]`)).out, /twice:\n\[2\. 2\. 2\.\]/)
  assert.match((await run('twice', '--inputs', `x=${npz}`)).err, /more than one ndarrays.*It has x, y/)
  assert.match((await run('twice', '--inputs', `x=${npz}[z]`)).err, /does not contain variable with name "z"/)
  const both = await run('twice', '--inputs', `x=${file}`, '--input_exprs', 'x=[1]')
  assert.match(both.out, /twice:\n\[2\.\]/)
  assert.match(both.err, /specified with both --inputs and --input_exprs/)
  writeFileSync(join(dir, 'x.pickle'), '\x80\x04K\x01.', 'latin1')
  assert.match(
    (await run('twice', '--inputs', `x=${join(dir, 'x.pickle')}`)).err,
    /A pickle is a program and is not run/,
  )
})

test('--outdir saves what numpy can load and overwrites only when told', async (t) => {
  const dir = join(folder(t), 'out')
  const first = await run('echo', '--input_exprs', "s=['é'];n=[1];b=[True]", '--outdir', dir)
  assert.equal(first.code, 0, first.err)
  assert.match(first.out, new RegExp(`^Output n is saved to ${join(dir, 'n.npy')}$`, 'm'))
  assert.deepEqual(readNpy(readFileSync(join(dir, 'n.npy'))).data, BigInt64Array.of(2n))
  assert.deepEqual(readNpy(readFileSync(join(dir, 's.npy'))).data, ['\xc3\xa9'])
  const again = await run('echo', '--input_exprs', "s=['b'];n=[1];b=[True]", '--outdir', dir)
  assert.deepEqual([again.code, again.out], [2, ''])
  assert.match(again.err, /Output file \S+ already exists\. Add "--overwrite" to overwrite the existing output files/)
  assert.equal((await run('echo', '--input_exprs', "s=['b'];n=[1];b=[True]", '--outdir', dir, '--overwrite')).code, 0)
  assert.deepEqual(readNpy(readFileSync(join(dir, 's.npy'))).data, ['b'])
})

test('wrong input is answered with what would be right', async () => {
  const wrong: [string[], number, RegExp][] = [
    [['twice'], 2, /At least one of --inputs, --input_exprs or --input_examples must be required/],
    [['twice', '--input_exprs', 'x=[[1.0]]'], 1, /WRONG_SHAPE.*float32 \[\?\].*float32 \[1,1\]/],
    [['twice', '--input_exprs', "x=['a']"], 1, /WRONG_DTYPE.*float32 \[\?\].*strings/],
    [['twice', '--input', 'x=1'], 2, /unknown option '--input'/],
    [['twice', '--input_exprs', 'x'], 2, /<input_key>=<value>/],
    [['twice', '--input_exprs', 'x=foo(1)'], 2, /--input_exprs x, position 1/],
    [['twice', '--inputs', 'x=/nothing.npy'], 2, /which is none/],
    [['echo', '--input_exprs', 'n=1'], 1, /MISSING_INPUT/],
    [['nothing', '--input_exprs', 'x=1'], 1, /UNKNOWN_SIGNATURE/],
    [['parse', '--input_examples', 'examples={"f":[1.0]}'], 1, /BAD_EXAMPLE.*a list of dictionaries/],
    [['parse', '--input_examples', 'examples=[{"f":1.0}]'], 1, /a list of values/],
    [['parse', '--input_examples', 'examples=[{"f":[]}]'], 1, /at least one value/],
    [['parse', '--input_examples', 'examples=[{"f":[1,"a"]}]'], 1, /values like the first, an int/],
    [['parse', '--input_examples', 'examples=[{"f":[1.0, true]}]'], 2, /a literal.*'true'/],
    [['parse', '--input_examples', 'examples=[{"i":[1]}]'], 1, /BAD_EXAMPLE/],
    [['parse', '--input_examples', 'examples=np.ones(3)'], 2, /a literal/],
  ]
  for (const [[signature = '', ...args], code, message] of wrong) {
    const got = await run(signature, ...args)
    assert.match(got.err, message, args.join(' '))
    assert.deepEqual([got.code, got.out], [code, ''], args.join(' '))
  }
})

test('a semicolon inside quotes belongs to the expression', async () => {
  const got = await run('echo', '--input_exprs', ' s=["a;b"]; n = [1] ;b=[True];')
  assert.equal(
    got.out,
    "Result for output key b:\n[False]\nResult for output key n:\n[2]\nResult for output key s:\n[b'a;b']\n",
    got.err,
  )
})

test('--json gives the outputs as data', async () => {
  const got = await run('twice', '--json', '--input_exprs', 'x=[1,2]')
  assert.deepEqual(JSON.parse(got.out).outputs.twice, { dtype: 'float32', shape: [2], data: [2, 4] })
  const special = await run('twice', '--json', '--input_exprs', 'x=[np.nan,-np.inf]')
  assert.deepEqual(JSON.parse(special.out).outputs.twice.data, ['NaN', '-Infinity'])
})
