import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Import {
  readonly from: string
  readonly to: string
  readonly typeOnly: boolean
}

const files = ['src', 'packager', 'functions'].flatMap((room) =>
  readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith('.ts'))
    .map((f) => join(room, f).replaceAll('\\', '/')),
)
const texts = new Map(files.map((f) => [f, readFileSync(join(root, f), 'utf8')]))

/** Static and dynamic imports; what is inside the project as a path from its root, the rest as it is written. */
function importsOf(file: string): Import[] {
  const text = texts.get(file)!
  const found: Import[] = []
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^'"`;]*?from\s+'([^']+)'|(?:^|\n)import\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g
  for (const [whole, type, from, bare, dynamic] of text.matchAll(pattern)) {
    const to = from ?? bare ?? dynamic!
    const inline = /\{([^}]*)\}/.exec(whole)?.[1]
    const onlyTypes =
      inline
        ?.split(',')
        .filter((s) => s.trim())
        .every((s) => s.trim().startsWith('type ')) ?? false
    found.push({
      from: file,
      to: to.startsWith('.') ? relative(root, resolve(root, dirname(file), to)).replaceAll('\\', '/') : to,
      typeOnly: type !== undefined || onlyTypes,
    })
  }
  return found
}

const all = files.flatMap(importsOf)

/** Who may import what: [who, what, the places that may]. Reasons are in ARCHITECTURE.md. */
const RULES: readonly [who: RegExp, what: RegExp, except: RegExp][] = [
  [/^src\//, /^(packager|functions)\//, /^$/],
  [/^functions\//, /^packager\//, /^$/],
  [/./, /^onnxruntime-node$/, /^(src\/session|packager\/optimise)\.ts$/],
  [/./, /^sharp$/, /^src\/image\/native\.ts$/],
  [
    /./,
    /^@aws-sdk\//,
    /^(packager\/(cli\/(s3|lambda)|deploy\/upload)|src\/(batch\/(s3store|again|queue)|golden\/invoke|capture\/writer))\.ts$/,
  ],
  // what must not be on the way to a first answer has one file, and that is imported when it is needed
  [/./, /^@aws-lambda-powertools\//, /^src\/(xray|batch\/metrics)\.ts$/],
  [/./, /^src\/(xray|capture\/writer)\.ts$/, /^src\/(boot|capture\/capture)\.ts$/],
  [/^packager\/formats\//, /^packager\/(readers|ops|onnx|normalise|package|layers|cli)\//, /^$/],
  [/^packager\/readers\//, /^packager\/(ops|onnx|normalise)\//, /^$/],
  [/^packager\/ops\//, /^node:fs/, /^$/],
  [/^src\/protocols\//, /^src\/(session|hooks|loadhooks|boot)\.ts$|^src\/http\/events\.ts$/, /^$/],
]

test('rooms import only what they may', () => {
  const broken = all.filter((i) =>
    RULES.some(([who, what, except]) => who.test(i.from) && what.test(i.to) && !except.test(i.from) && !i.typeOnly),
  )
  assert.deepEqual(
    broken.map((i) => `${i.from} → ${i.to}`),
    [],
  )
})

test('the environment is read in one place of the runtime, and by commands', () => {
  const readers = files.filter((f) =>
    /\bprocess\.env\b/.test(texts.get(f)!.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, '')),
  )
  assert.deepEqual(
    readers.filter((f) => f.startsWith('src/') && f !== 'src/boot.ts'),
    [],
  )
})

test('no cycles', () => {
  const edges = new Map(
    files.map((f) => [
      f,
      importsOf(f)
        .filter((i) => !i.typeOnly)
        .map((i) => i.to),
    ]),
  )
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file)
    assert.equal(at, -1, `cycle: ${[...path.slice(at), file].join(' → ')}`)
    if (done.has(file)) return
    for (const to of edges.get(file) ?? []) if (edges.has(to)) visit(to, [...path, file])
    done.add(file)
  }
  for (const f of files) visit(f, [])
})

test('files stay small enough to be one thing', () => {
  const long = files.map((f) => [f, texts.get(f)!.split('\n').length] as const).filter(([, n]) => n > 420)
  assert.deepEqual(long, [])
  const lengths = files.map((f) => texts.get(f)!.split('\n').length).sort((a, b) => a - b)
  assert.ok(lengths[lengths.length >> 1]! <= 130, `median file has ${lengths[lengths.length >> 1]} lines`)
})
