// The WebAssembly module, loaded once a page, and the worker that derives room keys.

import init, { Engine, deriveRoomKey, newSecret } from '../wasm/unamed_web.js'
import { UnamedError } from './errors.js'

let loading

/** Loads the module; `source` is its URL, response, bytes or compiled form where it is not beside the scripts. */
export function load(source) {
  loading ??= start(source).catch((error) => {
    // The next call tries again: the network may be back.
    loading = undefined
    throw UnamedError.of(error, 'wasm')
  })
  return loading
}

async function start(source) {
  const module = await compile(source ?? new URL('../wasm/unamed_web_bg.wasm', import.meta.url))
  await init({ module_or_path: module })
  return { Engine, newSecret, module }
}

async function compile(source) {
  const given = await source
  if (given instanceof WebAssembly.Module) return given
  if (given instanceof ArrayBuffer || ArrayBuffer.isView(given)) return WebAssembly.compile(given)
  const response = given instanceof Response ? given : await fetch(given)
  if (!response.ok) throw new UnamedError('wasm', `${response.url}: HTTP ${response.status}`)
  // A server that does not know the type of .wasm files keeps a browser from compiling while it loads, and no more.
  if (response.headers.get('content-type')?.startsWith('application/wasm')) {
    return WebAssembly.compileStreaming(response)
  }
  return WebAssembly.compile(await response.arrayBuffer())
}

/** How long an idle worker is kept, for its 19 MiB of memory. */
const WORKER_IDLE_MS = 20_000

/** Derives room keys beside the page, so that it never stalls. */
export class Deriver {
  #module
  #worker
  #waiting = new Map()
  #next = 0
  #idle

  constructor(module) {
    this.#module = module
  }

  /** The key of a room: 32 bytes. */
  async derive(name, passphrase, network) {
    const worker = this.#start()
    if (!worker) return deriveRoomKey(name, passphrase, network)
    clearTimeout(this.#idle)
    const id = this.#next++
    const key = await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, again: () => deriveRoomKey(name, passphrase, network) })
      worker.postMessage({ id, name, passphrase, network })
    })
    return key
  }

  close() {
    clearTimeout(this.#idle)
    this.#worker?.terminate()
    this.#worker = undefined
    for (const { reject } of this.#waiting.values()) reject(new UnamedError('closed', 'the node is closed'))
    this.#waiting.clear()
  }

  #start() {
    if (this.#worker || this.#worker === null) return this.#worker
    try {
      const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'unamed' })
      worker.onmessage = ({ data }) => this.#answered(data)
      worker.onerror = () => this.#failed()
      worker.postMessage({ module: this.#module })
      this.#worker = worker
    } catch {
      // No workers here: the page stalls for some tens of milliseconds instead.
      this.#worker = null
    }
    return this.#worker
  }

  #answered({ id, key, error }) {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error) waiting?.reject(new UnamedError(error.code, error.message))
    else waiting?.resolve(key)
    if (this.#waiting.size === 0) {
      this.#idle = setTimeout(() => {
        this.#worker?.terminate()
        this.#worker = undefined
      }, WORKER_IDLE_MS)
    }
  }

  /** The worker's script did not load, or is forbidden by a policy of the page: the page does the work itself. */
  #failed() {
    this.#worker?.terminate()
    this.#worker = null
    for (const { resolve, reject, again } of this.#waiting.values()) {
      try {
        resolve(again())
      } catch (error) {
        reject(UnamedError.of(error))
      }
    }
    this.#waiting.clear()
  }
}
