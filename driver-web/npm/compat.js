// The interface of the experiment that this project starts from: a program written for it runs by changing its import.

import { connect } from './src/network.js'
import { Emitter } from './src/emitter.js'
import { UnamedError } from './src/errors.js'

export default class UnamedNetwork {
  #events = new Emitter()
  #options
  #net
  #joined = new Map()

  constructor(config = {}) {
    const { iceServers, ...options } = config
    // An id of the caller's choice cannot be proved, so there is none here.
    delete options.id
    this.#options = { ...options, iceServers }
    this.rooms = new Map()
    this.peers = new Map()
    this.knownServiceAddrs = []
    this.primaryRoomNameHash = null
    this.started = false
    this.id = undefined
  }

  /** The node underneath. */
  get net() {
    return this.#net
  }

  addListener(type, listener) {
    this.#events.on(type, listener)
    return this
  }

  on(type, listener) {
    return this.addListener(type, listener)
  }

  once(type, listener) {
    this.#events.once(type, listener)
    return this
  }

  removeListener(type, listener) {
    this.#events.off(type, listener)
    return this
  }

  off(type, listener) {
    return this.removeListener(type, listener)
  }

  /** Connects to one of these service addresses. */
  async start(knownServiceAddrs = []) {
    this.knownServiceAddrs.push(...knownServiceAddrs)
    this.#net = await connect({ ...this.#options, bootstrap: knownServiceAddrs })
    this.id = this.#net.peerId
    this.#net.on('service-address', ({ address }) => this.#learned(address))
    this.#net.on('primary', ({ room }) => {
      this.primaryRoomNameHash = room?.id ?? null
    })
    await this.#connected()
    this.started = true
  }

  #connected() {
    if (this.#net.state === 'connected') return undefined
    return new Promise((resolve) => {
      const off = this.#net.on('state', (state) => {
        if (state !== 'connected' && state !== 'closed') return
        off()
        resolve()
      })
    })
  }

  #learned(addr) {
    if (this.knownServiceAddrs.includes(addr)) return
    this.knownServiceAddrs.push(addr)
    this.#events.emit('new-known-service-addr', { addr })
  }

  /** Joins a room; whether somebody else is in it. */
  async join(roomName, makePrimary = false) {
    const joined = await this.#require().join(roomName, { primary: makePrimary })
    const room = { roomNameHash: joined.id, name: roomName, joined: true, members: new Map() }
    this.#joined.set(roomName, joined)
    this.rooms.set(joined.id, room)
    if (joined.primary) this.primaryRoomNameHash = joined.id
    const alone = joined.alone
    joined.on('join', ({ peerId }) => {
      room.members.set(peerId, 'joined')
      this.#events.emit('new-member', { memberPeer: this.#peer(peerId), room })
    })
    joined.on('leave', ({ peerId }) => {
      room.members.delete(peerId)
      this.#events.emit('member-left', { memberPeer: this.#peer(peerId), room })
    })
    joined.on('message', (message) => {
      this.#events.emit('room-message', { room, fromMember: this.#peer(message.from), message: readMessage(message) })
    })
    joined.on('closed', () => {
      room.joined = false
      this.rooms.delete(joined.id)
      this.#joined.delete(roomName)
    })
    return !alone
  }

  /** Sends any JSON value to all members, or to the recipients if there are some. */
  async broadcast(roomName, message, recipients = []) {
    const room = this.#joined.get(roomName)
    if (!room) throw new UnamedError('not-joined', `the room ${roomName} is not joined`)
    const to = [recipients].flat().filter(Boolean)
    await room.broadcast(JSON.stringify(message), to.length > 0 ? { to } : {})
  }

  async leave(roomName) {
    await this.#joined.get(roomName)?.leave()
  }

  /** The room of this name, if it is joined. */
  getRoom(roomName) {
    const joined = this.#joined.get(roomName)
    return joined && this.rooms.get(joined.id)
  }

  /** Ends the node. */
  async stop() {
    await this.#net?.close()
    this.started = false
  }

  #require() {
    if (!this.#net) throw new UnamedError('not-started', 'start() comes first')
    return this.#net
  }

  #peer(peerId) {
    let peer = this.peers.get(peerId)
    if (!peer) {
      peer = { peerId }
      this.peers.set(peerId, peer)
    }
    return peer
  }
}

export { UnamedNetwork }

/** What was broadcast as a JSON value; what others sent as plain text comes as text. */
function readMessage(message) {
  try {
    return message.json()
  } catch {
    return message.text()
  }
}
