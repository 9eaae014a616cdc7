// Identity slots. Each node of this origin takes a numbered slot under a Web Lock, so that two tabs are two nodes. The
// number is kept in sessionStorage, which survives a reload and ends with the tab.

/** How long a reloaded tab waits for the lock of its own slot, which the page before may still hold. */
const OWN_SLOT_MS = 1000
/** More nodes than this at a time get identities of their own. */
const SLOTS_MAX = 64

const lockName = (network, slot) => `unamed:${network}:${slot}`
const sessionKey = (network) => `unamed:${network}:slots`

/** How many nodes of each network run on this page: the first `connect` after a reload gets the first one's slot. */
const running = new Map()

/** Takes a slot: `{ slot, release }`, or `undefined` where there are no Web Locks. */
export async function takeSlot(network) {
  if (typeof navigator === 'undefined' || !navigator.locks) return undefined
  const index = running.get(network) ?? 0
  running.set(network, index + 1)
  const taken = await find(network, ownSlot(network, index))
  if (!taken) {
    running.set(network, (running.get(network) ?? 1) - 1)
    return undefined
  }
  remember(network, index, taken.slot)
  let held = true
  const release = () => {
    if (!held) return
    held = false
    running.set(network, (running.get(network) ?? 1) - 1)
    taken.release()
  }
  return { slot: taken.slot, release }
}

async function find(network, own) {
  if (own !== undefined) {
    const release = await lock(lockName(network, own), { signal: AbortSignal.timeout(OWN_SLOT_MS) })
    if (release) return { slot: own, release }
  }
  for (let slot = 0; slot < SLOTS_MAX; slot++) {
    const release = await lock(lockName(network, slot), { ifAvailable: true })
    if (release) return { slot, release }
  }
  return undefined
}

/** A function that gives the lock free, or `undefined` if it cannot be had. */
function lock(name, options) {
  return new Promise((resolve) => {
    const hold = (granted) => {
      if (!granted) return resolve(undefined)
      return new Promise((release) => resolve(() => release()))
    }
    navigator.locks.request(name, options, hold).catch(() => resolve(undefined))
  })
}

function ownSlot(network, index) {
  const slot = readSlots(network)[index]
  return Number.isInteger(slot) && slot >= 0 && slot < SLOTS_MAX ? slot : undefined
}

function readSlots(network) {
  try {
    const slots = JSON.parse(sessionStorage.getItem(sessionKey(network)) ?? '[]')
    return Array.isArray(slots) ? slots : []
  } catch {
    return []
  }
}

function remember(network, index, slot) {
  const slots = readSlots(network)
  slots[index] = slot
  try {
    sessionStorage.setItem(sessionKey(network), JSON.stringify(slots))
  } catch {
    // The slot is then another one after a reload.
  }
}
