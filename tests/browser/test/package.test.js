// The package as a module: what importing it does, and whether its types hold.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { brotliCompressSync } from 'node:zlib'

import { Stage } from '../lib/stage.js'

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

/** Derives keys in the page, which normalises names with what the browser knows of Unicode. */
const derive = (page, rooms) =>
  page.evaluate(async (rooms) => {
    const { default: init, deriveRoomKey, roomIdOf } = await import('/unamed/wasm/unamed_web.js')
    await init()
    const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    return rooms.map(([name, passphrase, network]) => {
      const key = deriveRoomKey(name, Uint8Array.from(passphrase), network)
      return [hex(key), roomIdOf(key)]
    })
  }, rooms)

test('a browser derives the keys that everybody derives', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const { page } = await stage.tab()
  const vectors = await readFile(new URL('../../../protocol/vectors/room_keys.txt', import.meta.url), 'utf8')
  const lines = vectors.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.split(' '))
  assert.equal(lines.length, 18)
  const bytes = (hex) => [...Buffer.from(hex === '-' ? '' : hex, 'hex')]
  const text = (hex) => Buffer.from(hex, 'hex').toString()
  const rooms = lines.map(([name, passphrase, network]) => [text(name), bytes(passphrase), text(network)])
  assert.deepEqual(await derive(page, rooms), lines.map(([, , , seed, id]) => [seed, id]))
})

test('names that are canonically equivalent are one room', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const { page } = await stage.tab()
  // As typed, and in NFC: singletons, composition, Hangul, marks out of order, exclusions from composition, and
  // compatibility characters, which stay.
  const table = [
    ['\u212bngstro\u0308m', '\u00c5ngstr\u00f6m'],
    ['\u2126 ohm', '\u03a9 ohm'],
    ['\u1100\u1161\u11a8', '\uac01'],
    ['q\u0307\u0323', 'q\u0323\u0307'],
    ['s\u0307\u0323x', '\u1e69x'],
    ['\u0958', '\u0915\u093c'],
    ['\ud834\udd5e', '\ud834\udd57\ud834\udd65'],
    ['\uf900', '\u8c48'],
  ]
  const room = (name) => [name, [], 'unamed']
  const [typed, normal] = [0, 1].map((side) => derive(page, table.map((row) => room(row[side]))))
  assert.deepEqual(await typed, await normal)
  const [[ligature], [letters]] = await derive(page, [room('\ufb01sh'), room('fish')])
  assert.notEqual(ligature, letters)
})

test('the module stays within 300 KiB as it is sent', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const module = await fetch(`${stage.web}unamed/wasm/unamed_web_bg.wasm`)
  const bytes = brotliCompressSync(await module.arrayBuffer()).length
  assert.ok(bytes > 0 && bytes <= 300 * 1024, `${bytes} bytes`)
})
