// Service nodes that die and come back.

import { test } from 'node:test'

import { Stage } from '../lib/stage.js'

const ROOM = 'through thick and thin'

test('tabs talk on without any service node, and newcomers find them once one is back', { timeout: 150_000 }, async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  // The page is served by a third node that has no part in this network, so that it can be opened throughout.
  const state = await import('node:fs/promises').then((fs) => fs.mkdtemp('/tmp/unamed-browser-'))
  t.after(() => import('node:fs/promises').then((fs) => fs.rm(state, { recursive: true, force: true })))
  const network = 'outage'
  const first = await stage.service({ name: 'first', state: `${state}/first`, extra: ['--network', network] })
  const second = await stage.service({ name: 'second', bootstrap: [first.address], state: `${state}/second`, extra: ['--network', network] })
  const join = async (service) => {
    const tab = await stage.tab({ service, network })
    await tab.join(ROOM)
    return tab
  }
  const anna = await join(first)
  const ben = await join(second)
  const cara = await join(second)
  await stage.together(ROOM)
  for (const tab of [anna, ben]) await tab.untilCarrier(cara.peerId, 'webrtc')
  await anna.untilCarrier(ben.peerId, 'webrtc')

  await Promise.all([first.kill(), second.kill()])
  for (const tab of stage.tabs) await tab.until('offline', () => net.state === 'offline')
  await anna.say(ROOM, 'are we alone?')
  for (const tab of [ben, cara]) await tab.untilHeard(ROOM, anna.peerId, 'are we alone?')
  await ben.say(ROOM, 'no')
  for (const tab of [anna, cara]) await tab.untilHeard(ROOM, ben.peerId, 'no')

  const back = await stage.service({ name: 'first again', listen: first.listen, state: `${state}/first`, extra: ['--network', network] })
  await anna.until('a service node', () => net.state === 'connected', undefined, 40_000)
  const dora = await join(back)
  await stage.together(ROOM, stage.tabs)
  await dora.say(ROOM, 'hello from a newcomer')
  for (const tab of [anna, ben, cara]) await tab.untilHeard(ROOM, dora.peerId, 'hello from a newcomer')
  for (const tab of [anna, ben, cara]) {
    const { leaves } = await tab.log(ROOM)
    if (leaves.length > 0) throw new Error(`${tab.name} saw somebody leave: ${JSON.stringify(leaves)}`)
  }
})
