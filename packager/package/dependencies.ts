import type { Config, Requirement } from './config.ts'
import { type Finding, finding } from './findings.ts'

/** What hooks in TypeScript have instead of a Python package; names as PyPI compares them (lower case, `-`). */
export const REPLACED: Readonly<Record<string, string>> = {
  numpy: 'Tensors and nested arrays take its place.',
  pillow: 'image(file) takes its place, with the same decoding and resizing.',
  pil: 'image(file) takes its place, with the same decoding and resizing.',
  'opencv-python': 'image(file) takes its place.',
  'opencv-python-headless': 'image(file) takes its place.',
  'scikit-image': 'image(file) takes its place.',
  imageio: 'image(file) takes its place.',
  tensorflow: 'The importer turns the model into ONNX; onnxruntime runs it.',
  'tensorflow-gpu': 'The importer turns the model into ONNX; onnxruntime runs it.',
  'tensorflow-cpu': 'The importer turns the model into ONNX; onnxruntime runs it.',
  'tensorflow-serving-api': 'The model runs in the same process.',
  keras: 'The importer turns the model into ONNX; onnxruntime runs it.',
  h5py: 'The importer reads HDF5 files itself.',
  protobuf: 'The importer reads protocol buffers itself.',
  onnx: 'ONNX files are read as they are.',
  onnxruntime: 'onnxruntime is part of the runtime layer.',
  pandas: 'file.csv() reads tables.',
  requests: 'fetch() takes its place.',
}

/** A line for every dependency, saying what becomes of it. */
export function dependencyFindings(config: Config, hasHooks: boolean, file = 'config.json'): Finding[] {
  return config.dependencies.flatMap((d, i) =>
    d.packages.map((p, j) => {
      const at = {
        file,
        pointer: `/dependencies/${i}/packages/${j}`,
        got: `${d.installer} package '${p.package_name}'`,
      }
      if (d.installer === 'npm') {
        return hasHooks
          ? finding('DEPENDENCY_BUNDLED', at)
          : finding('DEPENDENCY_IGNORED', { ...at, fix: 'Only hooks need dependencies, and there are none.' })
      }
      const instead = d.installer === 'pip' || d.installer === 'conda' ? replacement(p.package_name) : undefined
      return instead
        ? finding('DEPENDENCY_REPLACED', { ...at, fix: instead })
        : finding('DEPENDENCY_IGNORED', { ...at, fix: 'Hooks run on Node.js: use an npm package where it is needed.' })
    }),
  )
}

function replacement(name: string): string | undefined {
  const plain = name.toLowerCase().replaceAll(/[-_.]+/g, '-')
  return Object.hasOwn(REPLACED, plain) ? REPLACED[plain] : undefined
}

export interface NpmSpec {
  readonly name: string
  readonly version?: string
  readonly restraint?: Requirement['restraint']
  /** as npm's command line has it: `name@>=1.2.3` */
  readonly spec: string
}

/** The npm packages, sorted, so that their list can be the key of a cache. */
export function npmSpecs(config: Config | undefined): NpmSpec[] {
  const all = (config?.dependencies ?? []).filter((d) => d.installer === 'npm').flatMap((d) => d.packages)
  const spec = ({ package_name: name, package_version: version, restraint }: Requirement): NpmSpec => {
    const range = version && restraint ? `@${RANGE[restraint]}${version}` : ''
    return { name, version, restraint, spec: `${name}${range}` }
  }
  return all.map(spec).sort((a, b) => (a.spec < b.spec ? -1 : 1))
}

const RANGE = { EXACT: '', ATLEAST: '>=', ATMOST: '<=' } as const
