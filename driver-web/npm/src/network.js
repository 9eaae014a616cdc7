// A node of the network that runs in this page.

import { abortable, check } from './abort.js'
import { beatWhileHidden } from './beat.js'
import { Emitter, deliver } from './emitter.js'
import { Deriver, load } from './engine.js'
import { UnamedError, guarded } from './errors.js'
import { encode } from './payload.js'
import { Room } from './room.js'
import { takeSlot } from './slots.js'
import { openStorage, readBytes, writeBytes } from './storage.js'

/** By when a node that closes has said goodbye. */
const CLOSE_MS = 5000
/** Messages being sent whose room is remembered, for their progress. */
const SENDING_MAX = 256

/** Starts a node. It is there at once, and connects in the background: see `net.state`. */
export async function connect(options = {}) {
  const { signal } = options
  check(signal)
  return abortable(Network.start(options), signal, (net) => net.close())
}

async function identityOf(options, network, newSecret) {
  const { storage, blocked } = openStorage(options.storage)
  const warnings = []
  if (blocked) {
    warnings.push(new UnamedError('storage-blocked', 'nothing is kept: the storage of this page is blocked', { cause: blocked }))
  }
  if (options.identity instanceof Uint8Array) return { secret: options.identity, warnings }
  if (options.identity !== undefined && options.identity !== 'ephemeral') {
    throw new UnamedError('bad-key', "identity: 32 bytes, or 'ephemeral'")
  }
  if (options.identity === 'ephemeral') return { secret: newSecret(), warnings }
  const taken = await takeSlot(network)
  if (!taken) {
    warnings.push(new UnamedError('no-locks', 'this identity lasts for this page only: there are no Web Locks here'))
    return { secret: newSecret(), warnings }
  }
  const key = (what) => `unamed:${network}:${taken.slot}:${what}`
  let secret = readBytes(storage, key('key'))
  if (secret?.length !== 32) {
    secret = newSecret()
    if (!writeBytes(storage, key('key'), secret) && !blocked) {
      warnings.push(new UnamedError('storage-blocked', 'the identity cannot be kept'))
    }
  }
  return { secret, warnings, release: taken.release, storage, stateKey: key('state') }
}

/** A running node. `connect` makes it. */
export class Network {
  #events = new Emitter()
  #rooms = new Map()
  #joining = new Map()
  #finding = new Map()
  #sending = new Map()
  #state = 'connecting'
  #warnings
  #unheard = []
  #engine
  #makeEngine
  #kept
  #deriver
  #undo = []
  #closing
  #paused = false

  /** @internal */
  static async start(options) {
    const network = options.network ?? 'unamed'
    const loaded = await load(options.wasm)
    const identity = await identityOf(options, network, loaded.newSecret)
    try {
      return new Network(network, options, identity, loaded)
    } catch (error) {
      identity.release?.()
      throw UnamedError.of(error)
    }
  }

  /** @internal */
  constructor(network, options, identity, { Engine, module }) {
    this.network = network
    this.#kept = identity
    this.#deriver = new Deriver(module)
    const bootstrap = [options.bootstrap ?? []].flat()
    const webrtc = options.webrtc !== false && typeof RTCPeerConnection === 'function'
    this.#makeEngine = () => {
      const saved = identity.storage && readBytes(identity.storage, identity.stateKey)
      const { secret } = identity
      const { iceServers, thirdParties } = options
      const engine = new Engine(
        { network, secret, saved: saved ?? identity.saved, webrtc, iceServers: iceServers ?? [], thirdParties },
        (event) => deliver((event) => this.#handle(event), event),
      )
      for (const address of bootstrap) engine.bootstrap(address)
      return engine
    }
    this.#engine = guarded(this.#makeEngine)
    this.peerId = this.#engine.peerId
    this.#warnings = identity.warnings
    this.#attend()
    for (const warning of this.#warnings) this.#error(warning)
    // In a task of its own, so that whoever awaits `connect` can listen before anything happens.
    setTimeout(() => this.#closing || this.#engine.start(), 0)
  }

  /** 'connecting', 'connected', 'offline' or 'closed'. */
  get state() {
    return this.#state
  }

  /** Joined rooms. */
  get rooms() {
    return [...this.#rooms.values()]
  }

  /** Listens. Returns a function that ends it. Errors from before the first 'error' listener are told to it. */
  on(type, listener) {
    const off = this.#events.on(type, listener)
    if (type === 'error') for (const error of this.#unheard.splice(0)) listener(error)
    return off
  }

  /** Like `on`, for one event. */
  once(type, listener) {
    return this.#events.once(type, listener)
  }

  /** Ends what `on` began. */
  off(type, listener) {
    this.#events.off(type, listener)
  }

  /** Adds a service address to start from. */
  bootstrap(address) {
    this.#require()
    guarded(() => this.#engine.bootstrap(address))
  }

  /** Joins a room: resolves when in. `room.outcome` says how it went. */
  async join(name, { passphrase = '', primary = false, data = '', signal } = {}) {
    check(signal)
    this.#require()
    const began = performance.now()
    const key = await abortable(this.#derive(name, passphrase), signal)
    const derived = performance.now()
    this.#require()
    const said = encode(data)
    const id = guarded(() => this.#engine.join(key, said))
    const room = new Room(this, { id, name, key, data: said })
    const entered = new Promise((resolve, reject) => this.#joining.set(id, { room, resolve, reject }))
    const abandon = () => this.leaveRoom(room)
    await abortable(entered, signal, abandon).catch((error) => {
      if (signal?.aborted) abandon()
      throw error
    })
    this.#events.emit('trace', {
      type: 'join',
      room: name,
      deriveMs: derived - began,
      findMs: performance.now() - derived,
    })
    if (primary) room.makePrimary()
    return room
  }

  /** Looks for the members of a room without joining it, and tells the way there. */
  async find(name, { passphrase = '', signal } = {}) {
    check(signal)
    this.#require()
    const key = await abortable(this.#derive(name, passphrase), signal)
    this.#require()
    const request = guarded(() => this.#engine.find(key))
    const found = new Promise((resolve, reject) => this.#finding.set(request, { resolve, reject }))
    return abortable(found, signal)
  }

  /** Usable links. */
  links() {
    return this.#closing ? [] : this.#engine.links()
  }

  /** This node's place in the key space, and whom it is linked to there. */
  routing() {
    return this.#closing ? null : this.#engine.routing()
  }

  /** Counters of the core, by name. */
  metrics() {
    return this.#closing ? {} : this.#engine.metrics()
  }

  /** Leaves all rooms, says goodbye, and gives the identity free. */
  close({ signal } = {}) {
    this.#closing ??= this.#shutDown()
    return abortable(this.#closing, signal)
  }

  async #shutDown() {
    this.#setState('closed')
    const done = new Promise((resolve) => {
      const timer = setTimeout(resolve, CLOSE_MS)
      this.#events.once('shut-down', () => {
        clearTimeout(timer)
        resolve()
      })
    })
    this.#engine.shutdown()
    this.#abandon(new UnamedError('closed', 'the node is closed'))
    for (const room of this.#rooms.values()) room.ended('closed')
    this.#rooms.clear()
    if (!this.#paused) await done
    this.#engine.stop()
    this.#deriver.close()
    for (const undo of this.#undo.splice(0)) undo()
    this.#kept.release?.()
  }

  #derive(name, passphrase) {
    const bytes = typeof passphrase === 'string' ? new TextEncoder().encode(passphrase) : passphrase
    return this.#deriver.derive(String(name), bytes, this.network)
  }

  #require() {
    if (this.#closing) throw new UnamedError('closed', 'the node is closed')
  }

  #abandon(error) {
    for (const { reject, room } of this.#joining.values()) {
      room.ended('closed')
      reject(error)
    }
    for (const { reject } of this.#finding.values()) reject(error)
    this.#joining.clear()
    this.#finding.clear()
  }

  /** @internal */
  send(room, bytes, to) {
    const id = guarded(() => this.#engine.broadcast(room.id, bytes, to))
    this.#sending.set(id, room)
    for (const old of this.#sending.keys()) {
      if (this.#sending.size <= SENDING_MAX) break
      this.#sending.delete(old)
    }
    return id
  }

  /** @internal */
  setData(room, bytes) {
    guarded(() => this.#engine.setMemberData(room.id, bytes))
  }

  /** @internal */
  makePrimary(room) {
    guarded(() => this.#engine.makePrimary(room.id))
  }

  /** @internal */
  isPrimary(room) {
    return !this.#closing && this.#engine.rooms().some((view) => view.room === room.id && view.primary)
  }

  /** @internal */
  leaveRoom(room) {
    const known = this.#rooms.get(room.id) ?? this.#joining.get(room.id)?.room
    if (known !== room) return
    this.#rooms.delete(room.id)
    this.#joining.delete(room.id)
    room.ended('left')
    guarded(() => this.#engine.leave(room.id))
  }

  #setState(state) {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#events.emit('state', state)
  }

  #error(error) {
    if (this.#events.listened('error')) this.#events.emit('error', error)
    else this.#unheard.push(error)
  }

  /** An event of the engine. */
  #handle(event) {
    switch (event.type) {
      case 'save':
        return this.#save(event)
      case 'joined':
        return this.#joined(event)
      case 'room-left':
        return this.#roomLeft(event)
      case 'found': {
        const { request, type, ...report } = event
        this.#finding.get(request)?.resolve(report)
        this.#finding.delete(request)
        return this.#events.emit('found', report)
      }
      case 'sending':
        return this.#sendProgress(event)
      case 'receiving':
        return this.#receiveProgress(event)
      case 'online':
        return this.#setState(event.online ? 'connected' : 'offline')
      case 'primary':
        return this.#events.emit('primary', { room: this.#rooms.get(event.room) ?? null })
      case 'link-opened':
      case 'link-closed':
      case 'link-failed':
        return this.#events.emit('link', linkEvent(event))
      case 'service-address':
        return this.#events.emit('service-address', { address: event.address })
      case 'save-failed':
        return this.#error(new UnamedError('storage-blocked', 'the state of this node cannot be kept'))
      case 'identity-in-use':
        return this.#error(new UnamedError('identity-in-use', identityInUse(event.toldBy)))
      case 'shut-down':
        return this.#events.emit('shut-down')
      case 'webrtc':
        return this.#events.emit('trace', event)
      default:
        return (this.#rooms.get(event.room) ?? this.#joining.get(event.room)?.room)?.handle(event)
    }
  }

  #save({ id, snapshot }) {
    const { storage, stateKey } = this.#kept
    this.#kept.saved = snapshot
    this.#engine.saved(id, storage ? writeBytes(storage, stateKey, snapshot) : true)
  }

  #joined(event) {
    const joining = this.#joining.get(event.room)
    if (!joining) return
    this.#joining.delete(event.room)
    this.#rooms.set(event.room, joining.room)
    joining.room.entered(event)
    joining.resolve(joining.room)
  }

  #roomLeft({ room: id, reason }) {
    if (reason !== 'full') return
    const error = new UnamedError('room-full', 'the room has as many members as it can')
    const joining = this.#joining.get(id)
    if (joining) {
      this.#joining.delete(id)
      joining.room.ended('full')
      return joining.reject(error)
    }
    const room = this.#rooms.get(id)
    this.#rooms.delete(id)
    room?.ended('full')
  }

  #sendProgress({ id, to, bytes, total }) {
    this.#sending.get(id)?.progress({ direction: 'out', id, peerId: to, bytes, total })
  }

  #receiveProgress({ from, bytes, total }) {
    for (const room of this.#rooms.values()) {
      if (room.members.includes(from)) room.progress({ direction: 'in', peerId: from, bytes, total })
    }
  }

  /** Attends to what becomes of the page. */
  #attend() {
    const listen = (target, type, act) => {
      target?.addEventListener?.(type, act)
      this.#undo.push(() => target?.removeEventListener?.(type, act))
    }
    const page = globalThis.document
    const wake = (resumed) => this.#closing || this.#paused || this.#engine.wake(resumed)
    listen(globalThis, 'pagehide', (event) => this.#pause(event.persisted))
    listen(globalThis, 'pageshow', (event) => event.persisted && this.#revive())
    listen(globalThis, 'online', () => wake(true))
    listen(page, 'resume', () => wake(true))
    listen(page, 'freeze', () => wake(false))
    listen(page, 'visibilitychange', () => page.hidden || wake(false))
    this.#undo.push(beatWhileHidden(() => wake(false)))
  }

  /** The page goes: goodbye, at once. It may come back, if the browser keeps it. */
  #pause(kept) {
    if (this.#closing || this.#paused) return
    this.#paused = true
    this.#engine.shutdown()
    if (!kept) return
    this.#setState('offline')
    for (const room of this.#rooms.values()) room.lost()
  }

  /** The page is back out of the browser's cache: the same node starts again, in the same rooms. */
  #revive() {
    if (this.#closing || !this.#paused) return
    this.#paused = false
    this.#engine.stop()
    const rooms = [...this.#rooms.values(), ...[...this.#joining.values()].map(({ room }) => room)]
    try {
      this.#engine = guarded(this.#makeEngine)
      this.#setState('connecting')
      for (const room of rooms) this.#engine.join(room.key, room.data)
      for (const room of this.#rooms.values()) {
        this.#joining.set(room.id, { room, resolve() {}, reject() {} })
      }
      this.#rooms.clear()
      this.#engine.start()
    } catch (error) {
      this.#error(UnamedError.of(error))
    }
  }
}

function identityInUse(toldBy) {
  const what = 'another live node uses this identity'
  return toldBy === null ? what : `${toldBy} says that ${what}`
}

function linkEvent({ type, peer, ...rest }) {
  return { type: type.slice('link-'.length), ...(peer ? { peerId: peer } : {}), ...rest }
}
