// Derives room keys. Gets the compiled module first, then one request a message.

import init, { deriveRoomKey } from '../wasm/unamed_web.js'

let ready

self.onmessage = async ({ data }) => {
  if (data.module) {
    ready = init({ module_or_path: data.module })
    return
  }
  const { id, name, passphrase, network } = data
  try {
    await ready
    self.postMessage({ id, key: deriveRoomKey(name, passphrase, network) })
  } catch (error) {
    self.postMessage({ id, error: { code: error?.code ?? 'internal', message: String(error?.message ?? error) } })
  }
}
