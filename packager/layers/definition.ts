import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../root.ts'

export const ARCHS = ['x64', 'arm64'] as const
export type Arch = (typeof ARCHS)[number]

/** What Lambda calls them. */
export const AWS_ARCH = { x64: 'x86_64', arm64: 'arm64' } as const satisfies Record<Arch, string>

/** One file of a layer. An allow-list, not a delete-list: what a new version of a package adds does not slip in. */
export interface LayerFile {
  /** npm package it comes from; absent: a file of this project, relative to layers/ */
  readonly package?: string
  readonly version?: string
  /** path inside the package */
  readonly from: string
  /** path inside the layer, that is below /opt */
  readonly to: string
  readonly bytes: number
  readonly sha256: string
}

/** layers/NAME.json, written by scripts/layers-update.ts. */
export interface LayerDefinition {
  readonly name: string
  readonly about: string
  readonly files: Readonly<Record<Arch, readonly LayerFile[]>>
}

export const NATIVE_LAYERS = ['runtime', 'image'] as const
export type NativeLayer = (typeof NATIVE_LAYERS)[number]

export const definitionPath = (name: NativeLayer): string => join(projectRoot(), 'layers', `${name}.json`)

export function loadDefinition(name: NativeLayer): LayerDefinition {
  return JSON.parse(readFileSync(definitionPath(name), 'utf8')) as LayerDefinition
}
