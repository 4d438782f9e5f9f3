import { BlockList, isIP } from 'node:net'
import { AppError } from '../errors.ts'

/**
 * Which web addresses a list may name. A list is written by whoever may put an object into the input, the function that reads it
 * stands inside of a network: without this, such a person reaches what only the function can (SSRF). So nothing may be named until
 * the author of the deployment says what.
 */
export interface WebAccess {
  /** @throws {AppError} BAD_INPUT for an address that nobody allowed */
  check(url: URL): void
  /** the host was named by a pattern, so that what it resolves to has to be public */
  publicOnly(url: URL): boolean
}

/**
 * `example.com`, `*.example.com` (and what is below it), `*`: https at any public address; `http://10.0.0.5:8080`: that very
 * server, wherever it stands.
 * @throws {AppError} USAGE
 */
export function webAccess(sources: readonly string[]): WebAccess {
  const servers = new Set<string>()
  const hosts: string[] = []
  for (const source of sources) {
    if (/^https?:\/\/[^/]+\/?$/i.test(source) && URL.canParse(source)) servers.add(new URL(source).origin)
    else if (/^(\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*)$/i.test(source)) hosts.push(source.toLowerCase())
    else
      throw new AppError('USAGE', {
        where: 'webSources',
        expected: 'example.com, *.example.com, * or http://server:port',
        got: `'${source.slice(0, 80)}'`,
      })
  }
  const named = (host: string) =>
    hosts.some((h) => h === '*' || h === host || (h.startsWith('*.') && host.endsWith(h.slice(1))))
  return {
    publicOnly: (url) => !servers.has(url.origin),
    check(url) {
      const allowed = servers.has(url.origin) || (url.protocol === 'https:' && url.port === '' && named(url.hostname))
      if (allowed && url.username === '' && url.password === '') return
      const plain = url.protocol === 'https:' && url.port === ''
      throw new AppError('BAD_INPUT', {
        where: `${url.origin}${url.pathname}`,
        expected: 'an address that webSources names',
        got: 'another',
        fix: `Name it in webSources (--web-source ${plain ? url.hostname : url.origin}), or put the file into the bucket.`,
      })
    },
  }
}

/** What is not on the internet (IANA's special-purpose registries): this machine, its network, what clouds tell their machines. */
const PRIVATE = new BlockList()
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  PRIVATE.addSubnet(net, prefix)
for (const [net, prefix] of [
  // unspecified, loopback, and IPv4 in IPv6; `::ffff:` is checked as the IPv4 that it is
  ['::', 96],
  ['64:ff9b::', 32],
  ['100::', 64],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const)
  PRIVATE.addSubnet(net, prefix, 'ipv6')

export function isPrivate(address: string): boolean {
  const family = isIP(address)
  return family === 0 || PRIVATE.check(address, family === 4 ? 'ipv4' : 'ipv6')
}
