// Tabs and a native member in one room.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Stage } from '../lib/stage.js'

const ROOM = 'a room of many'

for (const mdns of [false, true]) {
  const how = mdns ? 'behind mDNS names' : 'by their addresses'
  test(`two tabs find each other ${how} and talk over WebRTC, in order and once`, async (t) => {
    const stage = await Stage.open(t, { mdns })
    const [anna, ben] = [await stage.tab(), await stage.tab()]
    const first = await anna.join(ROOM)
    assert.deepEqual([first.outcome, first.alone, first.members], ['alone', true, []])
    const second = await ben.join(ROOM)
    assert.equal(second.id, first.id)
    await stage.together(ROOM)
    await Promise.all([anna.untilCarrier(ben.peerId, 'webrtc'), ben.untilCarrier(anna.peerId, 'webrtc')])
    const count = 200
    await Promise.all(
      [anna, ben].map((tab) =>
        tab.page.evaluate(async ([room, count]) => {
          for (let n = 0; n < count; n++) await rooms[room].room.broadcast(`message ${n}`)
        }, [ROOM, count]),
      ),
    )
    const expected = Array.from({ length: count }, (_, n) => `message ${n}`)
    for (const [tab, from] of [[anna, ben], [ben, anna]]) {
      await tab.untilHeard(ROOM, from.peerId, `message ${count - 1}`)
      const { messages } = await tab.log(ROOM)
      assert.deepEqual(messages.map((message) => message.text), expected)
      assert.ok(messages.every((message) => message.from === from.peerId))
      assert.equal(new Set(messages.map((message) => message.id)).size, count)
    }
    stage.quiet()
  })
}

test('six tabs and a native member on two service nodes see and hear each other', async (t) => {
  const stage = await Stage.open(t)
  for (let n = 0; n < 6; n++) await stage.tab()
  const native = await stage.native(ROOM, stage.services[1])
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  const peers = stage.tabs.map((tab) => tab.peerId)
  assert.equal(new Set(peers).size, 6, 'six tabs are six nodes')
  const nativeId = await native.wait('all tabs', () => new Set(native.seen).size === 6).then(() => memberOf(stage, peers))
  await stage.together(ROOM, stage.tabs, [nativeId])
  await Promise.all(
    stage.tabs.flatMap((tab) => peers.filter((peer) => peer !== tab.peerId).map((peer) => tab.untilCarrier(peer, 'webrtc'))),
  )
  for (const [index, tab] of stage.tabs.entries()) await tab.say(ROOM, `from ${index}`)
  native.say('from the native one')
  for (const tab of stage.tabs) {
    for (const [index, other] of stage.tabs.entries()) {
      if (other !== tab) await tab.untilHeard(ROOM, other.peerId, `from ${index}`)
    }
    await tab.untilHeard(ROOM, nativeId, 'from the native one')
    assert.equal((await tab.log(ROOM)).messages.length, 6, `${tab.name} hears each message once`)
    const { joins } = await tab.log(ROOM)
    assert.equal(new Set(joins).size, joins.length, `${tab.name} sees each member once`)
  }
  for (const [index, tab] of stage.tabs.entries()) {
    await native.wait(`message of ${tab.name}`, (event) => event.event === 'message' && event.from === tab.peerId)
    assert.deepEqual(native.messages(tab.peerId).map((event) => event.text), [`from ${index}`])
  }
  stage.quiet()
})

/** The one member that is none of the tabs. */
async function memberOf(stage, peers) {
  const others = (await stage.tabs[0].until(
    'the native member',
    ([room, peers]) => rooms[room].room.members.filter((peer) => !peers.includes(peer)),
    [ROOM, peers],
  ))
  assert.equal(others.length, 1)
  return others[0]
}

test('a tab and a native member are linked by WebRTC', async (t) => {
  const stage = await Stage.open(t)
  const tab = await stage.tab()
  await tab.join(ROOM)
  await stage.native(ROOM, stage.services[1])
  const [nativeId] = await tab.until('a member', (room) => rooms[room].room.members.length === 1 && rooms[room].room.members, ROOM)
  await tab.untilCarrier(nativeId, 'webrtc')
  stage.quiet()
})

test('what is said to one reaches that one alone', async (t) => {
  const stage = await Stage.open(t)
  const [anna, ben, cara] = [await stage.tab(), await stage.tab(), await stage.tab()]
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  await stage.together(ROOM)
  await anna.say(ROOM, 'for ben', { to: [ben.peerId] })
  await anna.say(ROOM, { for: 'all' })
  await Promise.all([ben, cara].map((tab) => tab.untilHeard(ROOM, anna.peerId, '{"for":"all"}')))
  assert.deepEqual((await ben.log(ROOM)).messages.map((m) => m.text).sort(), ['for ben', '{"for":"all"}'])
  assert.deepEqual((await cara.log(ROOM)).messages.map((m) => m.text), ['{"for":"all"}'])
  const codes = await anna.page.evaluate(async ([room, other]) => {
    const code = (promise) => promise.then(() => 'sent', (error) => (error instanceof DOMException ? error.name : (error.code ?? error.name)))
    const { room: joined } = rooms[room]
    return Promise.all([
      code(joined.broadcast('x', { to: [] })),
      code(joined.broadcast('x', { to: [net.peerId] })),
      code(joined.broadcast('x', { to: ['nobody'] })),
      code(joined.broadcast(undefined)),
      code(joined.broadcast(new Uint8Array(17 * 1024 * 1024))),
      code(joined.broadcast('x', { signal: AbortSignal.abort() })),
      code(net.join(room)),
      code(net.join('x')),
    ])
  }, [ROOM, 'x'])
  assert.deepEqual(codes, ['no-recipients', 'unknown-recipient', 'unknown-recipient', 'TypeError', 'too-large', 'AbortError', 'already-joined', 'bad-name'])
  stage.quiet()
})

test('a large message arrives intact, with progress at both ends', async (t) => {
  const stage = await Stage.open(t)
  const [anna, ben] = [await stage.tab(), await stage.tab()]
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  await stage.together(ROOM)
  await anna.untilCarrier(ben.peerId, 'webrtc')
  const bytes = 5 * 1024 * 1024
  const digest = await anna.page.evaluate(async ([room, bytes]) => {
    const data = new Uint8Array(bytes)
    for (let at = 0; at < bytes; at += 65536) crypto.getRandomValues(data.subarray(at, at + 65536))
    window.began = performance.now()
    await rooms[room].room.broadcast(data)
    return [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))].join()
  }, [ROOM, bytes])
  await ben.until('the message', (room) => rooms[room].log.messages.length === 1, ROOM)
  const arrived = await ben.page.evaluate(async () => [...new Uint8Array(await crypto.subtle.digest('SHA-256', last))].join())
  assert.equal(arrived, digest)
  for (const [tab, direction, other] of [[anna, 'out', ben], [ben, 'in', anna]]) {
    const { progress } = await tab.log(ROOM)
    assert.ok(progress.length > 2, `${tab.name} is told of progress`)
    assert.ok(progress.every((event) => event.direction === direction && event.peerId === other.peerId))
    assert.ok(progress.every((event, index) => index === 0 || event.bytes > progress[index - 1].bytes), 'it grows')
    assert.ok(progress.every((event) => event.bytes <= event.total && event.total >= bytes))
  }
  stage.quiet()
})

test('members know each other by name, from joining on and after changes', async (t) => {
  const stage = await Stage.open(t)
  const [anna, ben] = [await stage.tab(), await stage.tab()]
  const names = (tab) =>
    tab.page.evaluate((room) => rooms[room].room.members.map((peer) => rooms[room].room.member(peer).text()), ROOM)
  await anna.join(ROOM, { data: 'Anna' })
  // What the first listener is told, and what comes later.
  await ben.page.evaluate(async (room) => {
    const joined = await net.join(room, { data: { name: 'Ben' } })
    const log = { joins: [], leaves: [], messages: [], progress: [] }
    window.rooms[room] = { room: joined, log }
    window.changes = []
    joined.on('join', ({ peerId }) => log.joins.push(peerId))
    joined.on('change', (member) => changes.push([member.peerId, member.text()]))
  }, ROOM)
  await stage.together(ROOM)
  await ben.until('her name', (room) => rooms[room].room.members.some((peer) => rooms[room].room.member(peer).text() === 'Anna'), ROOM)
  assert.deepEqual(await names(anna), ['{"name":"Ben"}'])
  const codes = await anna.page.evaluate((room) => {
    const { room: joined } = rooms[room]
    const code = (act) => {
      try {
        act()
        return 'set'
      } catch (error) {
        return error.code
      }
    }
    const codes = [code(() => joined.setData('x'.repeat(1025))), code(() => joined.setData('Anna, away'))]
    return [...codes, new TextDecoder().decode(joined.data), joined.member(net.peerId) === undefined]
  }, ROOM)
  assert.deepEqual(codes, ['too-large', 'set', 'Anna, away', true])
  const refused = await anna.page.evaluate(() => net.join('another', { data: new Uint8Array(1025) }).catch((error) => error.code))
  assert.equal(refused, 'too-large')
  await ben.until('the change', (peer) => changes.some(([of, name]) => of === peer && name === 'Anna, away'), anna.peerId)
  await anna.page.evaluate((room) => rooms[room].room.setData(''), ROOM)
  await ben.until('no name', (peer) => changes.some(([of, name]) => of === peer && name === ''), anna.peerId)
  stage.quiet()
})
