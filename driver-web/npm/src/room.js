// A joined room.

import { abortable, check } from './abort.js'
import { Emitter, deliver } from './emitter.js'
import { UnamedError } from './errors.js'
import { Member, Message, encode } from './payload.js'

/** Messages kept for the first listener. */
const EARLY_MAX = 256

/** A room that this node is in. `net.join` makes it. */
export class Room {
  #events = new Emitter()
  #members = new Map()
  #early = []
  #waiting = []
  #left = false
  #data
  #net

  /** @internal */
  constructor(net, { id, name, key, data }) {
    this.#net = net
    this.#data = data
    this.id = id
    this.name = name
    this.outcome = undefined
    Object.defineProperty(this, 'key', { value: key })
  }

  /** Peer ids of the other members. */
  get members() {
    return [...this.#members.keys()].sort()
  }

  /** A member and what it says of itself, by its peer id. */
  member(peerId) {
    return this.#members.get(peerId)
  }

  /** What this node says of itself here: bytes, none if it says nothing. */
  get data() {
    return this.#data
  }

  /** Whether nobody else is in the room, as far as is known. */
  get alone() {
    return this.#members.size === 0
  }

  /** Whether it is this node's primary room. */
  get primary() {
    return this.#net.isPrimary(this)
  }

  /** Whether the room was left. */
  get closed() {
    return this.#left
  }

  /** Listens; a new 'join' listener is told of those who are in. Returns a function that ends it. */
  on(type, listener) {
    const off = this.#events.on(type, listener)
    if (type === 'join') for (const peerId of this.members) deliver(listener, this.#members.get(peerId))
    if (type === 'message') for (const message of this.#early.splice(0)) deliver(listener, message)
    return off
  }

  /** Like `on`, for one event. */
  once(type, listener) {
    const off = this.on(type, (event) => {
      queueMicrotask(() => off())
      if (!listener) return
      const once = listener
      listener = undefined
      once(event)
    })
    return off
  }

  /** Ends what `on` began. */
  off(type, listener) {
    this.#events.off(type, listener)
  }

  /** Sends to all members, or to those in `to`. Waits while the queues are full. Gives the message's id. */
  async broadcast(data, { to, signal } = {}) {
    check(signal)
    const bytes = encode(data)
    for (;;) {
      this.#require()
      try {
        return this.#net.send(this, bytes, to)
      } catch (error) {
        if (error.code !== 'busy') throw error
      }
      await abortable(new Promise((resolve) => this.#waiting.push(resolve)), signal)
    }
  }

  /** Says something of this node to the members: up to 1 KiB, in place of what was said before; nothing if empty. */
  setData(data) {
    this.#require()
    const bytes = encode(data)
    this.#net.setData(this, bytes)
    this.#data = bytes
  }

  /** Makes this the primary room: the one that decides where in the key space this node is. */
  makePrimary() {
    this.#require()
    this.#net.makePrimary(this)
  }

  /** Leaves the room, and says so to its members. */
  async leave({ signal } = {}) {
    check(signal)
    if (this.#left) return
    this.#net.leaveRoom(this)
  }

  #require() {
    if (this.#left) throw new UnamedError('not-joined', 'the room is left')
  }

  /** @internal The answer to the join. */
  entered({ outcome, members }) {
    this.outcome = outcome
    for (const peer of members) this.#came(new Member(peer, new Uint8Array()))
  }

  /** @internal An event of the engine. */
  handle(event) {
    switch (event.type) {
      case 'member-joined':
        return this.#came(new Member(event.peer, event.data))
      case 'member-changed':
        return this.#changed(new Member(event.peer, event.data))
      case 'member-left':
        if (this.#members.delete(event.peer)) {
          this.#events.emit('leave', { peerId: event.peer, reason: event.reason })
        }
        return
      case 'message':
        return this.#got(new Message(event))
      case 'messages-lost':
        return this.#events.emit('lost', { from: event.from, count: event.count })
      case 'merged':
        return this.#events.emit('merge', { members: event.members })
      case 'writable':
        for (const resume of this.#waiting.splice(0)) resume()
        return
    }
  }

  #came(member) {
    if (this.#members.has(member.peerId)) return
    this.#members.set(member.peerId, member)
    this.#events.emit('join', member)
  }

  #changed(member) {
    if (!this.#members.has(member.peerId)) return
    this.#members.set(member.peerId, member)
    this.#events.emit('change', member)
  }

  #got(message) {
    if (this.#events.listened('message')) return this.#events.emit('message', message)
    this.#early.push(message)
    if (this.#early.length > EARLY_MAX) this.#early.shift()
  }

  /** @internal */
  progress(event) {
    this.#events.emit('progress', event)
  }

  /** @internal The room is over, and its members are forgotten. */
  ended(reason) {
    if (this.#left) return
    this.#left = true
    this.#members.clear()
    for (const resume of this.#waiting.splice(0)) resume()
    this.#events.emit('closed', { reason })
  }

  /** @internal The node starts anew under the same identity: all are gone until they are seen again. */
  lost() {
    for (const peerId of this.members) {
      this.#members.delete(peerId)
      this.#events.emit('leave', { peerId, reason: 'lost' })
    }
  }
}
