import { isPackageName } from './fields.ts'
import type { Report } from './findings.ts'
import type { Json, JsonObject } from './json.ts'
import { acceptsFiles } from './schema.ts'

/** What holds between fields. `doc` goes into docs/config.md. */
interface FieldRule {
  readonly doc: string
  check(config: JsonObject, report: Report): void
}

/** Only values of the right type; the table has already spoken about the others. */
const text = (node: Json | undefined) => (node?.type === 'string' ? String(node.value) : undefined)
const key = (node: Json | undefined, name: string) => (node?.type === 'object' ? node.members.get(name) : undefined)
const items = (node: Json | undefined) => (node?.type === 'array' ? node.items : [])

const engine = (config: Json) => text(key(config, 'model_type'))

export const RULES: readonly FieldRule[] = [
  {
    doc: '`swr_location` and `health` belong to Image, which must have both.',
    check(config, report) {
      if (engine(config) === undefined) return
      for (const name of ['swr_location', 'health']) {
        const node = key(config, name)
        if (engine(config) === 'Image' && !node)
          report('CONFIG_REQUIRED', config, { expected: `'${name}' for an Image` })
        if (engine(config) !== 'Image' && node) {
          report('CONFIG_FORBIDDEN', node, { got: `'${name}'`, fix: `Only custom images support ${name}; remove it.` })
        }
      }
    },
  },
  {
    doc: 'Image takes neither `runtime` nor `dependencies`: both are in the image.',
    check(config, report) {
      if (engine(config) !== 'Image') return
      for (const name of ['runtime', 'dependencies']) {
        const node = key(config, name)
        const fix = `A custom image brings its own ${name}; remove it.`
        if (node) report('CONFIG_FORBIDDEN', node, { got: `'${name}'`, fix })
      }
    },
  },
  {
    doc: 'Only Image may have more than one API, or another url than `/`.',
    check(config, report) {
      if (engine(config) === 'Image') return
      const [first, ...more] = items(key(config, 'apis'))
      const url = key(first, 'url')
      if (text(url)?.startsWith('/') && text(url) !== '/') {
        report('CONFIG_VALUE', url!, { expected: "'/'", got: `'${text(url)}'`, fix: 'Only Image has other paths.' })
      }
      for (const api of more) {
        report('CONFIG_FORBIDDEN', api, { expected: 'one API', got: 'another one', fix: 'Only Image has several.' })
      }
    },
  },
  {
    doc: 'No two APIs have the same url and method.',
    check(config, report) {
      const seen = new Set<string>()
      for (const api of items(key(config, 'apis'))) {
        const name = `${(text(key(api, 'method')) ?? 'POST').toUpperCase()} ${text(key(api, 'url')) ?? '/'}`
        if (engine(config) === 'Image' && seen.has(name)) report('CONFIG_VALUE', api, { got: `a second API ${name}` })
        seen.add(name)
      }
    },
  },
  {
    doc: 'Requests come by POST; an API declared as GET has no effect, except for Image.',
    check(config, report) {
      if (engine(config) === 'Image') return
      const method = key(items(key(config, 'apis'))[0], 'method')
      if (text(method)?.toUpperCase() !== 'GET') return
      report('CONFIG_USELESS', method!, { expected: "'POST'", got: "'GET'", fix: 'The model is asked by POST.' })
    },
  },
  {
    doc: 'Files travel in requests of the type `multipart/form-data` only, as fields of an object.',
    check(config, report) {
      for (const api of items(key(config, 'apis'))) {
        const request = key(api, 'request')
        const data = key(request, 'data')
        const multipart = contentType(request) === 'multipart/form-data'
        if (data) acceptsFiles(data, multipart ? 'fields' : 'none', report)
        const answer = key(key(api, 'response'), 'data')
        if (answer) acceptsFiles(answer, 'none', report)
      }
    },
  },
  {
    doc: 'A `package_version` needs a `restraint`; yum and apt-get take only EXACT.',
    check(config, report) {
      for (const dependency of items(key(config, 'dependencies'))) {
        const installer = text(key(dependency, 'installer'))
        for (const item of items(key(dependency, 'packages'))) {
          const version = text(key(item, 'package_version'))
          const restraint = key(item, 'restraint')
          const name = `'${text(key(item, 'package_name')) ?? '?'}'`
          if (!version) {
            const fix = `Give ${name} a package_version, or an empty restraint.`
            if (text(restraint)) report('CONFIG_USELESS', restraint!, { got: 'a restraint without a version', fix })
          } else if (installer === 'yum' || installer === 'apt-get') {
            const got = restraint ? `'${text(restraint) ?? '?'}'` : 'none'
            if (text(restraint) !== 'EXACT')
              report('CONFIG_RESTRAINT_EXACT', restraint ?? item, { expected: "'EXACT'", got })
          } else if (!restraint || text(restraint) === '') {
            const expected = `'restraint' (EXACT, ATLEAST or ATMOST) for ${name} ${version}`
            report('CONFIG_REQUIRED', restraint ?? item, { expected, got: restraint ? 'an empty one' : 'none' })
          }
        }
      }
    },
  },
  {
    doc: 'npm packages have names and versions of the npm registry: no URLs, paths or tags.',
    check(config, report) {
      for (const dependency of items(key(config, 'dependencies'))) {
        if (text(key(dependency, 'installer')) !== 'npm') continue
        for (const item of items(key(dependency, 'packages'))) {
          const name = key(item, 'package_name')
          const version = key(item, 'package_version')
          if (text(name) && isPackageName(text(name)!) && !NPM_NAME.test(text(name)!)) {
            report('CONFIG_VALUE', name!, { expected: 'the name of an npm package', got: `'${text(name)}'` })
          }
          if (text(version) && !NPM_VERSION.test(text(version)!)) {
            report('CONFIG_VALUE', version!, { expected: 'a version such as 1.2.3', got: `'${text(version)}'` })
          }
        }
      }
    },
  },
]

/** the rules of the npm registry for new packages; they also keep flags and paths out of the command line */
const NPM_NAME = /^(@[a-z0-9][a-z0-9._~-]*\/)?[a-z0-9][a-z0-9._~-]{0,213}$/
const NPM_VERSION = /^\d+(\.\d+){0,2}(-[0-9A-Za-z.-]+)?$/

function contentType(request: Json | undefined): string | undefined {
  if (request?.type !== 'object') return undefined
  // whatever the case of the key: a misspelt one has its warning already
  for (const [name, node] of request.members) if (/^content[-_]?type$/i.test(name)) return text(node)?.toLowerCase()
}
