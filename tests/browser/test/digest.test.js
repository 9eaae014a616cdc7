// Drawn networks come to the same as a program and as WebAssembly: each byte sent, each decision, each figure.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { test } from 'node:test'
import { promisify } from 'node:util'

const PROGRAM = process.env.UNAMED_DIGEST ?? new URL('../../../target/debug/unamed-digest', import.meta.url).pathname
const MODULE = process.env.UNAMED_DIGEST_MODULE ?? new URL('../../../target/digest', import.meta.url).pathname

// Among them are service nodes that lie, real cryptography, faults of each kind, and latencies of each kind.
const SEEDS = Array.from({ length: 24 }, (_, index) => index)

test('a program and WebAssembly come to the same', async () => {
  const script = await import(pathToFileURL(`${MODULE}/unamed_digest.js`))
  script.initSync({ module: await readFile(`${MODULE}/unamed_digest_bg.wasm`) })
  const { stdout } = await promisify(execFile)(PROGRAM, SEEDS.map(String), { maxBuffer: 1 << 24 })
  const native = stdout.trimEnd().split('\n').map((line) => JSON.parse(line))
  assert.equal(native.length, SEEDS.length)
  assert.equal(new Set(native.map((report) => report.trace_hash)).size, SEEDS.length)
  for (const [index, seed] of SEEDS.entries()) {
    assert.deepEqual(JSON.parse(script.digest(seed)), native[index], `seed ${seed}`)
  }
})
