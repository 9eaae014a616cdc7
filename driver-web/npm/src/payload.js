// What can be sent, and what a received message offers.

/** The bytes of a string, of bytes, or of a JSON value. */
export function encode(data) {
  if (typeof data === 'string') return new TextEncoder().encode(data)
  if (data instanceof Uint8Array) return data
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const text = JSON.stringify(data)
  if (text === undefined) throw new TypeError('this is no string, no bytes and no JSON value')
  return new TextEncoder().encode(text)
}

/** Bytes of somebody. */
class Content {
  /** The content as text. */
  text() {
    return new TextDecoder().decode(this.data)
  }

  /** The content as a JSON value. */
  json() {
    return JSON.parse(this.text())
  }
}

/** A message that was received. */
export class Message extends Content {
  constructor({ from, id, data, directed }) {
    super()
    this.from = from
    this.id = id
    this.data = data
    this.directed = directed
  }
}

/** A member of a room, and what it says of itself. */
export class Member extends Content {
  constructor(peerId, data) {
    super()
    this.peerId = peerId
    this.data = data
  }
}
