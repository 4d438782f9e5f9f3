// Writes layers/*.json anew from the installed versions. Run after an upgrade of onnxruntime-node or sharp, and read the diff.
import { writeFileSync } from 'node:fs'
import { definitionPath, NATIVE_LAYERS } from '../packager/layers/definition.ts'
import { define } from '../packager/layers/recipe.ts'
import { defaultCache } from '../packager/root.ts'

for (const name of NATIVE_LAYERS) {
  const definition = await define(name, defaultCache())
  writeFileSync(definitionPath(name), `${JSON.stringify(definition, null, 2)}\n`)
  for (const [arch, files] of Object.entries(definition.files))
    console.log(`${name} ${arch}: ${files.length} files, ${files.reduce((n, f) => n + f.bytes, 0)} bytes`)
}
