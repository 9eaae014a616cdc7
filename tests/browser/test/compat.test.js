// The actions of the first experiment's demo, on its own interface.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Stage } from '../lib/stage.js'
import { Tab } from '../lib/browser.js'

async function open(stage, name) {
  const tab = await Tab.open(stage.context, stage.web, { name })
  tab.id = await tab.page.evaluate(async (addr) => {
    const { default: UnamedNetwork } = await import('/unamed/compat.js')
    const network = new UnamedNetwork()
    window.network = network
    window.seen = []
    for (const type of ['new-member', 'member-left', 'room-message', 'new-known-service-addr']) {
      network.addListener(type, (event) => {
        const { room, memberPeer, fromMember, message, addr } = event
        seen.push({ type, room: room?.name, member: (memberPeer ?? fromMember)?.peerId, message, addr })
      })
    }
    await network.start([addr])
    return network.id
  }, stage.services[0].address)
  return tab
}

const saw = (tab, what, event) =>
  tab.until(what, (event) => seen.some((one) => Object.keys(event).every((key) => JSON.stringify(one[key]) === JSON.stringify(event[key]))), event)

test('start, join, broadcast to all and to one, a big packet, leave', async (t) => {
  const stage = await Stage.open(t)
  const [anna, ben, cara] = [await open(stage, 'anna'), await open(stage, 'ben'), await open(stage, 'cara')]
  const join = (tab, room, primary) => tab.page.evaluate(([room, primary]) => network.join(room, primary), [room, primary])
  const broadcast = (tab, room, message, recipients) =>
    tab.page.evaluate(([room, message, recipients]) => network.broadcast(room, message, recipients), [room, message, recipients])

  assert.equal(await join(anna, 'the first room', true), false, 'nobody else is there')
  assert.equal(await join(ben, 'the first room', true), true)
  assert.equal(await join(cara, 'the first room'), true)
  assert.equal(await join(anna, 'the second room'), false)
  for (const tab of [anna, ben, cara]) {
    for (const other of [anna, ben, cara].filter((one) => one !== tab)) {
      await saw(tab, 'a member', { type: 'new-member', room: 'the first room', member: other.id })
    }
  }
  const state = await anna.page.evaluate(() => {
    const room = network.getRoom('the first room')
    return {
      started: network.started,
      rooms: [...network.rooms.values()].map(({ name, joined }) => [name, joined]),
      members: [...room.members],
      primary: network.primaryRoomNameHash === room.roomNameHash,
      none: network.getRoom('no room'),
    }
  })
  assert.deepEqual(state.rooms, [['the first room', true], ['the second room', true]])
  assert.deepEqual(state.members.sort(), [[ben.id, 'joined'], [cara.id, 'joined']].sort())
  assert.deepEqual([state.started, state.primary, state.none], [true, true, undefined])

  await broadcast(anna, 'the first room', 'hello', [])
  await broadcast(anna, 'the first room', { nested: [1, null, 'x'] })
  await broadcast(anna, 'the first room', 'for ben', [ben.id])
  for (const tab of [ben, cara]) {
    await saw(tab, 'hello', { type: 'room-message', room: 'the first room', member: anna.id, message: 'hello' })
    await saw(tab, 'a value', { type: 'room-message', message: { nested: [1, null, 'x'] } })
  }
  await saw(ben, 'what is for ben', { type: 'room-message', message: 'for ben' })
  const big = await anna.page.evaluate(async (to) => {
    const message = 'x'.repeat(4 * 1024 * 1024)
    await network.broadcast('the first room', message, [to])
    return message.length
  }, ben.id)
  await ben.until('the big packet', (big) => seen.some((one) => one.message?.length === big), big)
  assert.ok(!(await cara.page.evaluate(() => seen.some((one) => one.message === 'for ben'))), 'cara was not meant')

  await ben.page.evaluate(() => network.leave('the first room'))
  await saw(anna, 'the leave', { type: 'member-left', room: 'the first room', member: ben.id })
  assert.equal(await ben.page.evaluate(() => network.getRoom('the first room')), undefined)
  const refused = await ben.page.evaluate(() => network.broadcast('the first room', 'x').catch((error) => error.code))
  assert.equal(refused, 'not-joined')
  stage.quiet([anna, ben, cara])
})

test('service addresses that become known are told', async (t) => {
  const stage = await Stage.open(t)
  const tab = await open(stage, 'tab')
  await saw(tab, 'the other service node', { type: 'new-known-service-addr', addr: stage.services[1].address })
  assert.ok(await tab.page.evaluate((addr) => network.knownServiceAddrs.includes(addr), stage.services[1].address))
})
