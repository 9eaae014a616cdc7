// A native member that says what it likes, and signals as bytes (docs/protocol.md), legal or not.

import { Program } from './process.js'

const PROGRAM =
  process.env.UNAMED_HOSTILE ?? new URL('../../../target/debug/unamed-hostile', import.meta.url).pathname

/** A fellow member of a tab, whose id is below or above the tab's: the lower one of a pair offers. */
export class Hostile extends Program {
  static async start({ service, room, side, tab }) {
    const hostile = new Hostile('hostile', [service.address, room, side, tab.peerId], PROGRAM)
    hostile.tab = tab
    hostile.peerId = (await hostile.wait('id', (event) => event.event === 'started')).peer_id
    await hostile.wait('link to the tab', (event) => event.event === 'link' && event.peer_id === tab.peerId)
    return hostile
  }

  /** Sends messages to the tab that no core would send. An honest message follows in the same frame. */
  send(...messages) {
    this.chunks(...messages.map((message) => whole(message)))
  }

  /** Sends chunks of any making to the tab. */
  chunks(...chunks) {
    this.say(JSON.stringify({ to: this.tab.peerId, chunks: Buffer.concat(chunks).toString('hex') }))
  }

  /** The `count`th signal of the tab: its attempt and its step. */
  async signal(count = 1) {
    const came = () => this.events.filter((event) => event.event === 'signal')
    await this.wait(`signal ${count}`, () => came().length >= count)
    return readSignal(Buffer.from(came()[count - 1].body, 'hex'))
  }

  /** The reasons for which its core closed links. */
  get closed() {
    return this.events.filter((event) => event.event === 'close').map((event) => event.reason)
  }
}

/** Unsigned LEB128. */
export function varint(number) {
  const bytes = []
  let rest = BigInt(number)
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0))
    rest >>= 7n
  } while (rest > 0n)
  return Buffer.from(bytes)
}

/** A chunk with a whole message. */
export const whole = (message) => Buffer.concat([Buffer.from([1]), varint(message.length), message])

const SIGNAL = 64
const KINDS = ['offer', 'answer', 'candidate', 'end']
const text = (text) => Buffer.concat([varint(Buffer.byteLength(text)), Buffer.from(text)])

export const SETUP = { actpass: 0, active: 1, passive: 2 }

/** A description; each part can be something that is none. */
export function description({
  ufrag = 'abcd',
  pwd = 'abcdefghijklmnopqrstuvwx',
  fingerprint = Buffer.alloc(32, 0xee),
  setup = SETUP.actpass,
  candidates = [],
} = {}) {
  return Buffer.concat([text(ufrag), text(pwd), varint(fingerprint.length), fingerprint, Buffer.from([setup]), varint(candidates.length), ...candidates])
}

/** A candidate; `host` is an IPv4 address, or bytes that stand for anything else. */
export function candidate({ kind = 0, host = '192.0.2.1', port = 9, priority = 1 } = {}) {
  const place = typeof host === 'string' ? Buffer.from([0, ...host.split('.').map(Number)]) : host
  return Buffer.concat([Buffer.from([kind]), place, varint(port), varint(priority)])
}

/** A message with a step of signalling. */
export function signal(attempt, kind, body = Buffer.alloc(0)) {
  return Buffer.concat([Buffer.from([SIGNAL]), varint(attempt), Buffer.from([KINDS.indexOf(kind)]), body])
}

/** Attempt and kind of step of a signal's body. */
function readSignal(body) {
  let attempt = 0n
  let at = 0
  do attempt |= BigInt(body[at] & 127) << BigInt(7 * at)
  while (body[at++] & 128)
  return { attempt, kind: KINDS[body[at]] }
}
