// Where a node's key and state are kept.

/** Bytes as text and back. */
function toText(bytes) {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}

function toBytes(text) {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))
  } catch {
    return undefined
  }
}

/** Keeps things for as long as the page lives. */
class Memory {
  #items = new Map()
  getItem(key) {
    return this.#items.get(key) ?? null
  }
  setItem(key, value) {
    this.#items.set(key, value)
  }
}

/**
 * The storage to use: the given one, else `localStorage` if the page may use it. `blocked` says why it may not.
 */
export function openStorage(given) {
  if (given === null) return { storage: new Memory() }
  if (given) return { storage: given }
  try {
    const probe = 'unamed:probe'
    localStorage.setItem(probe, '1')
    localStorage.removeItem(probe)
    return { storage: localStorage }
  } catch (error) {
    return { storage: new Memory(), blocked: error }
  }
}

/** The bytes under a key, `undefined` where there are none. */
export function readBytes(storage, key) {
  try {
    const text = storage.getItem(key)
    return typeof text === 'string' ? toBytes(text) : undefined
  } catch {
    return undefined
  }
}

/** Keeps bytes under a key; whether they are kept. */
export function writeBytes(storage, key, bytes) {
  try {
    storage.setItem(key, toText(bytes))
    return true
  } catch {
    return false
  }
}
