// Each line that is marked is refused.
import { connect, type Network } from '../../../driver-web/npm/index.js'

export async function talk(net: Network): Promise<void> {
  await connect({ bootstrap: 5 }) // wrong
  const room = await net.join('tea')
  room.on('joined', () => {}) // wrong
  room.on('leave', ({ reason }) => reason === 'gone') // wrong
  await room.broadcast(() => {}) // wrong
  net.links().map((link) => link.carrier === 'tcp') // wrong
}
