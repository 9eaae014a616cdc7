/** The interface of the experiment that this project starts from; programs written for it run by changing their import. */
import type { ConnectOptions, Network } from './index.js'

export interface Peer {
  peerId: string
}

export interface Room {
  roomNameHash: string
  name: string
  joined: boolean
  members: Map<string, 'joined'>
}

export interface UnamedNetworkEvents {
  'new-member': { memberPeer: Peer; room: Room }
  'member-left': { memberPeer: Peer; room: Room }
  'room-message': { room: Room; fromMember: Peer; message: any }
  'new-known-service-addr': { addr: string }
}

export class UnamedNetwork {
  constructor(config?: Omit<ConnectOptions, 'bootstrap' | 'signal'> & { id?: string })
  readonly id: string | undefined
  readonly started: boolean
  readonly rooms: Map<string, Room>
  readonly peers: Map<string, Peer>
  readonly primaryRoomNameHash: string | null
  readonly knownServiceAddrs: string[]
  /** The node underneath. */
  readonly net: Network | undefined
  start(knownServiceAddrs?: string[]): Promise<void>
  /** Whether others are in the room. */
  join(roomName: string, makePrimary?: boolean): Promise<boolean>
  broadcast(roomName: string, message: any, recipients?: string | string[]): Promise<void>
  leave(roomName: string): Promise<void>
  getRoom(roomName: string): Room | undefined
  stop(): Promise<void>
  addListener<K extends keyof UnamedNetworkEvents>(type: K, listener: (event: UnamedNetworkEvents[K]) => void): this
  on<K extends keyof UnamedNetworkEvents>(type: K, listener: (event: UnamedNetworkEvents[K]) => void): this
  once<K extends keyof UnamedNetworkEvents>(type: K, listener: (event: UnamedNetworkEvents[K]) => void): this
  removeListener<K extends keyof UnamedNetworkEvents>(type: K, listener: (event: UnamedNetworkEvents[K]) => void): this
  off<K extends keyof UnamedNetworkEvents>(type: K, listener: (event: UnamedNetworkEvents[K]) => void): this
}

export default UnamedNetwork
