// What a program may do.
import { connect, UnamedError, type Carrier, type Member, type Message, type Network, type Room } from '../../../driver-web/npm/index.js'
import UnamedNetwork from '../../../driver-web/npm/compat.js'

export async function talk(signal: AbortSignal): Promise<string[]> {
  const net: Network = await connect({ bootstrap: ['/ip4/127.0.0.1/tcp/3001/ws'], iceServers: [{ urls: 'stun:x' }], storage: null, signal })
  const room: Room = await net.join('tea', { passphrase: 'p', data: { name: 'Anna' }, signal })
  room.on('change', (member: Member) => console.log(member.peerId, member.text(), member.data.length))
  room.setData('Anna')
  console.log(room.data.length, room.member('12D3')?.json())
  const off = room.on('join', ({ peerId }) => console.log(peerId))
  room.on('leave', ({ peerId, reason }) => console.log(peerId, reason === 'lost'))
  room.on('message', (message: Message) => console.log(message.from, message.id, message.data.length, message.text(), message.json()))
  room.on('progress', ({ bytes, total }) => console.log(bytes / total))
  net.on('state', (state) => state === 'connected')
  net.on('error', (error) => error instanceof UnamedError && error.code === 'identity-in-use')
  await room.broadcast('x')
  await room.broadcast(new Uint8Array(1), { to: [...room.members] })
  const id: string = await room.broadcast({ a: [1, 'b', null] }, { signal })
  const carriers: Carrier[] = net.links().map((link) => link.carrier)
  off()
  await room.leave({ signal })
  await net.close()
  const old = new UnamedNetwork()
  old.on('room-message', ({ room, fromMember, message }) => console.log(room.name, fromMember.peerId, message))
  await old.start(['/ip4/127.0.0.1/tcp/3001/ws'])
  const others: boolean = await old.join('tea', true)
  return [id, ...carriers, String(others), String(room.alone)]
}
