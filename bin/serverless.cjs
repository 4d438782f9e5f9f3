// The plugin as `plugins: [modelayer/serverless]` finds it. A clone builds it on first use: npm ci runs no scripts here.
const { execFileSync } = require('node:child_process')
const { existsSync } = require('node:fs')
const { join } = require('node:path')

const root = join(__dirname, '..')
const built = join(root, 'build', 'serverless.mjs')
if (!existsSync(built)) execFileSync(process.execPath, [join(root, 'scripts', 'build.mjs')], { cwd: root, stdio: 'inherit' })
module.exports = require(built).default
