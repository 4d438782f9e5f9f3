import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { compileFunction, constants } from 'node:vm'
import { AppError } from './errors.ts'
import { BaseService, HOOKS, type ServiceClass } from './hooks.ts'
import { edits } from './nearest.ts'
import { kindOf } from './nested.ts'

const EXPECTED = [
  'export default class MyService extends TfServingBaseService {',
  '  async _preprocess(data: RequestData): Promise<Feeds>',
  '  async _inference(data: Feeds): Promise<Outputs>',
  '  async _postprocess(outputs: Outputs, tensors: Tensors): Promise<unknown>',
  '} (each hook optional)',
].join(' ')

/** How many parameters a hook may declare: what the runtime passes. */
const PARAMETERS = { _preprocess: 1, _inference: 1, _postprocess: 2 }

/**
 * Runs the CommonJS bundle of a package's hooks. Its `require('modelayer')` is `api`, so that hooks and runtime share one
 * base class; everything else resolves from the file, as Node does it.
 * @throws {AppError} BAD_HOOKS
 */
export function loadHooks(file: string, api: object): ServiceClass {
  const fail = (cause: unknown) =>
    new AppError('BAD_HOOKS', { where: file, got: cause instanceof Error ? cause.message : kindOf(cause), cause })
  const load = createRequire(file)
  const module = { exports: {} as unknown }
  try {
    const run = compileFunction(
      readFileSync(file, 'utf8'),
      ['module', 'exports', 'require', '__filename', '__dirname'],
      {
        filename: file,
        importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      },
    )
    const required = (name: string): unknown => (name === 'modelayer' ? api : load(name))
    run(module, module.exports, Object.assign(required, load), file, dirname(file))
  } catch (cause) {
    throw fail(cause)
  }
  const loaded: unknown = module.exports
  checkHooks(loaded, file)
  return loaded.default
}

/** @throws {AppError} BAD_HOOKS with the expected signature in the message */
export function checkHooks(loaded: unknown, where = 'customize_service'): asserts loaded is { default: ServiceClass } {
  const refuse = (got: string, fix?: string): never => {
    throw new AppError('BAD_HOOKS', { where, expected: EXPECTED, got, fix })
  }
  if (typeof loaded !== 'object' || loaded === null || !('default' in loaded)) return refuse('no default export')
  const Class: unknown = loaded.default
  if (typeof Class !== 'function') return refuse(`a default export that is ${kindOf(Class)}`)
  const prototype: unknown = Class.prototype
  if (!(prototype instanceof BaseService) && prototype !== BaseService.prototype)
    return refuse(
      `class ${Class.name} without that base`,
      "Import the base class from 'modelayer' and extend it: class … extends TfServingBaseService.",
    )
  const members: Record<string, unknown> = Object.fromEntries(methods(prototype))
  for (const hook of HOOKS) {
    const method = members[hook]
    if (method === undefined) continue
    if (typeof method !== 'function') return refuse(`${hook} that is ${kindOf(method)}`)
    if (method.length > PARAMETERS[hook]) return refuse(`${hook} with ${method.length} parameters`)
  }
  for (const name of Object.keys(members)) {
    const meant = HOOKS.find((hook) => edits(bare(name), bare(hook)) <= 2)
    if (meant && name !== meant && !(meant in members)) return refuse(`a method ${name}`, `Rename it to ${meant}.`)
  }
}

/** `_pre_process`, `preProcess` → `preprocess`: the spellings that habits of Python and TypeScript lead to */
const bare = (name: string) => name.replaceAll('_', '').toLowerCase()

function methods(prototype: object): [string, unknown][] {
  const found: [string, unknown][] = []
  for (let p = prototype; p !== BaseService.prototype && p !== null; p = Object.getPrototypeOf(p))
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(p)))
      found.unshift([name, property.value ?? property.get])
  return found
}
