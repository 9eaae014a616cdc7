/**
 * Rooms that nobody owns, in a page. A room is joined by its name; its members talk over WebRTC, and where that cannot
 * connect, over an encrypted link that others relay.
 *
 * ```ts
 * const net = await connect({ bootstrap: ['/dns4/node.example/tcp/443/wss'] })
 * const room = await net.join('tea')
 * room.on('join', ({ peerId }) => console.log(peerId, 'is here'))
 * room.on('message', (message) => console.log(message.from, message.text()))
 * await room.broadcast('hello')
 * ```
 */

/** A node's id: a libp2p peer id, like `12D3KooW…`. The same for as long as its key is kept. */
export type PeerId = string

/** A message's id: 64 hexadecimal digits. */
export type MessageId = string

/** What carries a link: a WebSocket, a WebRTC data channel, or other links, encrypted end to end. */
export type Carrier = 'websocket' | 'webrtc' | 'relayed'

/** What can be sent: text, bytes, or anything that `JSON.stringify` takes. */
export type Data = string | Uint8Array | ArrayBuffer | ArrayBufferView | JsonValue
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue | undefined }

/** Ends a listening. */
export type Off = () => void

/** Every promise of this package takes a signal; it rejects with the signal's reason. */
export interface Abortable {
  signal?: AbortSignal
}

/** What can be given to {@link connect}. */
export interface ConnectOptions extends Abortable {
  /** Addresses of service nodes to start from, like `/ip4/127.0.0.1/tcp/3001/ws`. Those met later are remembered. */
  bootstrap?: string | readonly string[]
  /** The network; different networks never mix. Default: `unamed`. */
  network?: string
  /**
   * Who this node is. By default one of the origin's numbered identities: each tab takes a free one, and a reload keeps
   * it. Else a secret key of 32 bytes, which must not be in use anywhere else; or one for this time only.
   */
  identity?: Uint8Array | 'ephemeral'
  /** Where key and known addresses are kept. Default: `localStorage`; `null`: nowhere. */
  storage?: Pick<Storage, 'getItem' | 'setItem'> | null
  /** STUN and TURN servers to use beside those that service nodes hand out, at most 8. */
  iceServers?: readonly IceServer[]
  /** Whether TURN servers, and STUN servers of third parties, are used if a service node hands them out. Default: no. */
  thirdParties?: boolean
  /** Whether direct links are tried. Default: where the browser has WebRTC. */
  webrtc?: boolean
  /** The WebAssembly module, where it is not beside the scripts. */
  wasm?: string | URL | Response | BufferSource | WebAssembly.Module | Promise<Response>
}

/** As in `RTCConfiguration`; `stun:`, `turn:` and `turns:` only. */
export interface IceServer {
  urls: string | readonly string[]
  username?: string
  credential?: string
}

/** Starts a node. It is there at once and connects in the background, see {@link Network.state}. */
export function connect(options?: ConnectOptions): Promise<Network>

/** `connecting` until a service node is linked for the first time, `offline` while none is. */
export type NetworkState = 'connecting' | 'connected' | 'offline' | 'closed'

/** What {@link Network.on} tells. */
export interface NetworkEvents {
  /** The state changed. */
  state: NetworkState
  /** Something failed that no call was waiting for. What came before the first listener is told to it. */
  error: UnamedError
  /** A link opened, closed, or could not be opened. */
  link: LinkEvent
  /** The primary room is another one; `null` is the node's own. */
  primary: { room: Room | null }
  /** An address of a service node became known. */
  'service-address': { address: string }
  /** A find ended. */
  found: FindReport
  /** How long the steps of a join or of a WebRTC dial took: for measuring, and free to change. */
  trace: { type: 'join' | 'webrtc'; [key: string]: unknown }
}

/** A node in this page. */
export class Network {
  private constructor()
  readonly peerId: PeerId
  readonly network: string
  readonly state: NetworkState
  readonly rooms: Room[]
  /** Joins a room. Resolves when in; `room.outcome` says how it went. It takes 12 s at most, and never hangs. */
  join(name: string, options?: JoinOptions): Promise<Room>
  /** Looks for the members of a room without joining it. */
  find(name: string, options?: { passphrase?: string | Uint8Array } & Abortable): Promise<FindReport>
  /** Usable links. */
  links(): Link[]
  /** This node's place in the key space; `null` once closed. */
  routing(): Routing | null
  /** Counters, by name. */
  metrics(): Record<string, number>
  /** Adds a service node to start from. */
  bootstrap(address: string): void
  /** Leaves all rooms, says goodbye, and gives the identity free. It takes 5 s at most. */
  close(options?: Abortable): Promise<void>
  on<K extends keyof NetworkEvents>(type: K, listener: (event: NetworkEvents[K]) => void): Off
  once<K extends keyof NetworkEvents>(type: K, listener: (event: NetworkEvents[K]) => void): Off
  off<K extends keyof NetworkEvents>(type: K, listener: (event: NetworkEvents[K]) => void): void
}

/** What can be given to {@link Network.join}. */
export interface JoinOptions extends Abortable {
  /** Keeps out who knows the name alone: the same name with another passphrase is another room. */
  passphrase?: string | Uint8Array
  /** Makes it the primary room. The first room is in any case. */
  primary?: boolean
  /** What this node says of itself to the members, a nickname for instance; see {@link Room.setData}. */
  data?: Data
}

/**
 * `joined`: others are linked. `alone`: the network says that nobody else is there. `unreachable`: others are there, none
 * is linked yet. `offline`: the network could not be asked. In the last two cases the node keeps trying.
 */
export type JoinOutcome = 'joined' | 'alone' | 'unreachable' | 'offline'

/** What {@link Room.on} tells. */
export interface RoomEvents {
  /** A member came. Those who are in are told to a new listener at once. */
  join: Member
  /** A member says something else of itself. Right after joining it comes for those who are in and say something. */
  change: Member
  /** A member went: it said so, its links failed, or it started anew. */
  leave: { peerId: PeerId; reason: 'left' | 'lost' | 'restarted' }
  /** A message. Up to 256 that came before the first listener are told to it. */
  message: Message
  /** Part of a large message went out to a member, or came in from one. */
  progress: Progress
  /** Messages of a member are missing for good. */
  lost: { from: PeerId; count: number }
  /** Two parts of the room that did not know of each other have met. */
  merge: { members: PeerId[] }
  /** The room is over for this node. */
  closed: { reason: 'left' | 'full' | 'closed' }
}

/** A joined room. */
export class Room {
  private constructor()
  readonly name: string
  /** The room's place in the key space: 64 hexadecimal digits. */
  readonly id: string
  readonly outcome: JoinOutcome
  /** Whether nobody else is in the room, as far as is known. */
  readonly alone: boolean
  /** Peer ids of the others. */
  readonly members: PeerId[]
  readonly primary: boolean
  readonly closed: boolean
  /** What this node says of itself here; empty for nothing. */
  readonly data: Uint8Array
  /** A member and what it says of itself, by its peer id. */
  member(peerId: PeerId): Member | undefined
  /**
   * Says something of this node to the members, a nickname for instance: up to 1 KiB, in place of what was said before;
   * nothing if empty. Changes go out once a second at most, the last of several alone.
   */
  setData(data: Data): void
  /**
   * Sends to all members, or to those in `to`. Resolves with the message's id when it is queued, and waits for that while
   * the queues are full. Members get an author's messages in order, and once.
   */
  broadcast(data: Data, options?: { to?: readonly PeerId[] } & Abortable): Promise<MessageId>
  /** Makes this the room that says where in the key space this node is. */
  makePrimary(): void
  leave(options?: Abortable): Promise<void>
  on<K extends keyof RoomEvents>(type: K, listener: (event: RoomEvents[K]) => void): Off
  once<K extends keyof RoomEvents>(type: K, listener: (event: RoomEvents[K]) => void): Off
  off<K extends keyof RoomEvents>(type: K, listener: (event: RoomEvents[K]) => void): void
}

/** A member of a room. What it says of itself is certainly its own word, and may be anybody's name. */
export interface Member {
  readonly peerId: PeerId
  /** What it says of itself, 1 KiB at most; empty for nothing. */
  readonly data: Uint8Array
  text(): string
  json(): any
}

/** A message that was received. Its author is certain. */
export interface Message {
  readonly from: PeerId
  readonly id: MessageId
  readonly data: Uint8Array
  /** Whether it was for chosen members only. */
  readonly directed: boolean
  text(): string
  json(): any
}

/** Bytes so far, of all that are sent, which is a little more than the payload. */
export interface Progress {
  direction: 'in' | 'out'
  peerId: PeerId
  /** The message; known to its author only. */
  id?: MessageId
  bytes: number
  total: number
}

/** Why a link is kept. */
export type LinkReason = 'room' | 'home' | 'leaf' | 'bucket' | 'relay' | 'set-up'

/** A usable link. */
export interface Link {
  peerId: PeerId
  carrier: Carrier
  /** Smoothed round-trip time, once measured. */
  rttMs: number | null
  reasons: LinkReason[]
  /** Why the other end keeps it. */
  remoteReasons: LinkReason[]
  /** Whether the other end is a service node. */
  service: boolean
  /** Whether this end opened it. */
  outbound: boolean
  /** A service node's place in the key space. */
  location: string | null
}

/** What became of a link. */
export type LinkEvent =
  | { type: 'opened'; peerId: PeerId; carrier: Carrier; reasons: LinkReason[] }
  | { type: 'closed'; peerId: PeerId; reason: string; reasons: LinkReason[] }
  | { type: 'failed'; address: string | null; reason: string }

/** How a find went. */
export interface FindReport {
  room: string
  attempts: number
  /** The way there, this node first. */
  route: { peerId: PeerId; rttMs: number; service: boolean; location: string }[]
  members: PeerId[]
  elapsedMs: number
}

/** A node's place in the key space. */
export interface Routing {
  location: string
  ready: boolean
  homes: { peerId: PeerId; location: string }[]
  leafSet: { peerId: PeerId; location: string }[]
  buckets: { index: number; peerId: PeerId }[]
}

/** What can fail. */
export type ErrorCode =
  | 'bad-address'
  | 'bad-network'
  | 'bad-key'
  | 'bad-ice-server'
  | 'bad-name'
  | 'already-joined'
  | 'too-many-rooms'
  | 'room-full'
  | 'not-joined'
  | 'no-recipients'
  | 'unknown-recipient'
  | 'too-many-recipients'
  | 'too-large'
  | 'closed'
  | 'not-started'
  | 'identity-in-use'
  | 'storage-blocked'
  | 'no-locks'
  | 'no-randomness'
  | 'wasm'
  | 'internal'

/** An error with a stable code. */
export class UnamedError extends Error {
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown })
  readonly code: ErrorCode
}
