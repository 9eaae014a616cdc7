// The package as a module: what importing it does, and whether its types hold.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'

const NAMES = ['window', 'document', 'navigator', 'localStorage', 'sessionStorage', 'WebSocket', 'RTCPeerConnection', 'Worker', 'performance']

test('importing touches nothing of a browser', async () => {
  const touched = []
  const before = new Map()
  for (const name of NAMES) {
    before.set(name, Object.getOwnPropertyDescriptor(globalThis, name))
    Object.defineProperty(globalThis, name, {
      configurable: true,
      get() {
        touched.push(name)
        return undefined
      },
    })
  }
  const fetched = globalThis.fetch
  globalThis.fetch = () => touched.push('fetch')
  try {
    const unamed = await import('../../../driver-web/npm/index.js')
    const compat = await import('../../../driver-web/npm/compat.js')
    assert.deepEqual(Object.keys(unamed).sort(), ['Network', 'Room', 'UnamedError', 'connect'])
    assert.equal(compat.default, compat.UnamedNetwork)
    const network = new compat.default()
    assert.equal(network.started, false)
  } finally {
    globalThis.fetch = fetched
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor)
      else delete globalThis[name]
    }
  }
  assert.deepEqual(touched, [])
})

test('a program in TypeScript compiles against the types, and a wrong one does not', () => {
  const here = fileURLToPath(new URL('..', import.meta.url))
  const check = (file) =>
    execFileSync('node', ['node_modules/typescript/bin/tsc', '--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,dom', file], {
      cwd: here,
      encoding: 'utf8',
    })
  check('types/right.ts')
  assert.throws(() => check('types/wrong.ts'), (error) => {
    const lines = error.stdout.match(/wrong\.ts\(\d+/g) ?? []
    // One complaint for each line that is marked.
    assert.equal(new Set(lines).size, 5, error.stdout)
    return true
  })
})
