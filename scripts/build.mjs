// Bundles what runs on a workstation. Packages stay external: node_modules is there, and native ones cannot be bundled.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const entries = {
  cli: 'packager/cli/main.ts',
  index: 'src/index.ts',
  demo: 'scripts/demo.ts',
  serverless: 'packager/deploy/plugin.ts',
  thread: 'functions/thread.ts',
}

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, file]) => existsSync(`${root}/${file}`))),
  outdir: 'build',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  // commands import their heavy parts when they run; without splitting, esbuild would inline and load them all at once
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  sourcemap: 'linked',
  logLevel: 'warning',
  metafile: true,
})

// hashes change with the sources; what this build did not write is from an older one
const chunks = `${root}/build/chunks`
for (const file of existsSync(chunks) ? readdirSync(chunks) : []) {
  if (!metafile.outputs[`build/chunks/${file}`]) rmSync(`${chunks}/${file}`)
}
