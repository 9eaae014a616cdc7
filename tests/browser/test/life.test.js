// Tabs that come, go, crash and come back.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Stage } from '../lib/stage.js'

const ROOM = 'coming and going'

async function pair(t, options) {
  const stage = await Stage.open(t)
  const [anna, ben] = [await stage.tab(options), await stage.tab(options)]
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  await stage.together(ROOM)
  await anna.untilCarrier(ben.peerId, 'webrtc')
  return { stage, anna, ben }
}

test('a tab that closes is reported left at once', async (t) => {
  const { stage, anna, ben } = await pair(t)
  const began = Date.now()
  await ben.page.close({ runBeforeUnload: false })
  await anna.until('the leave', (room) => rooms[room].log.leaves.length === 1, ROOM)
  const took = Date.now() - began
  const { leaves } = await anna.log(ROOM)
  assert.deepEqual([leaves[0].peerId, leaves[0].reason], [ben.peerId, 'left'])
  assert.ok(took < 2000, `it took ${took} ms`)
  t.diagnostic(`a closed tab is reported after ${took} ms`)
  stage.quiet([anna])
})

test('a tab that crashes is reported lost within the detection time', { timeout: 120_000 }, async (t) => {
  const { stage, anna, ben } = await pair(t, { fresh: true })
  const began = Date.now()
  await ben.page.goto('chrome://crash').catch(() => {})
  // 30 s of silence at most, then 10 s of suspicion.
  await anna.until('the loss', (room) => rooms[room].log.leaves.length === 1, ROOM, 45_000)
  const { leaves } = await anna.log(ROOM)
  assert.deepEqual([leaves[0].peerId, leaves[0].reason], [ben.peerId, 'lost'])
  t.diagnostic(`a crashed tab is reported after ${Date.now() - began} ms`)
  stage.quiet([anna])
})

test('a reload keeps the identity, and the room is found again', async (t) => {
  const { stage, anna, ben } = await pair(t)
  const before = [anna.peerId, ben.peerId]
  await ben.page.reload()
  await ben.connect({ bootstrap: [stage.services[0].address] })
  assert.equal(ben.peerId, before[1])
  await anna.until('the leave', (room) => rooms[room].log.leaves.length === 1, ROOM)
  await ben.join(ROOM)
  await stage.together(ROOM)
  await ben.say(ROOM, 'back again')
  await anna.untilHeard(ROOM, ben.peerId, 'back again')
  const { joins } = await anna.log(ROOM)
  assert.deepEqual(joins, [ben.peerId, ben.peerId])
  assert.deepEqual(await anna.page.evaluate(() => log.errors), [])
})

test('tabs and further networks of a page have identities of their own, and free ones are taken again', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const [one, two] = [await stage.tab(), await stage.tab()]
  const service = stage.services[0].address
  const again = await two.page.evaluate(async (service) => {
    const { connect } = await import('/unamed/index.js')
    const beside = await connect({ bootstrap: [service] })
    const elsewhere = await connect({ bootstrap: [service], network: 'another' })
    const ephemeral = await connect({ bootstrap: [service], identity: 'ephemeral' })
    const given = await connect({ bootstrap: [service], identity: new Uint8Array(32).fill(7) })
    const ids = [beside, elsewhere, ephemeral, given].map((net) => net.peerId)
    await Promise.all([beside, elsewhere, ephemeral, given].map((net) => net.close()))
    return ids
  }, service)
  assert.equal(new Set([one.peerId, two.peerId, ...again]).size, 6)
  const third = await stage.tab()
  assert.equal(third.peerId, again[0], 'the slot beside is free again')
  const codes = await two.page.evaluate(async () => {
    const { connect, UnamedError } = await import('/unamed/index.js')
    const code = (options) => connect(options).then(() => 'connected', (error) => (error instanceof UnamedError ? error.code : error.name))
    return [
      await code({ bootstrap: ['nonsense'] }),
      await code({ network: '' }),
      await code({ identity: new Uint8Array(3) }),
      await code({ identity: 5 }),
      await code({ iceServers: [{ urls: 'http://example.org' }] }),
      await code({ signal: AbortSignal.abort() }),
    ]
  })
  assert.deepEqual(codes, ['bad-address', 'bad-network', 'bad-key', 'bad-key', 'bad-ice-server', 'AbortError'])
  const free = await stage.tab()
  assert.equal(new Set([one, two, third, free].map((tab) => tab.peerId)).size, 4, 'a failed connect keeps no slot')
  stage.quiet()
})

test('where storage is blocked a node runs, and says so', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const init = () => {
    const blocked = () => {
      throw new DOMException('blocked', 'SecurityError')
    }
    for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get: blocked })
    Object.defineProperty(Navigator.prototype, 'locks', { get: () => undefined })
  }
  const blocked = await stage.tab({ init })
  const other = await stage.tab()
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  await stage.together(ROOM)
  const errors = await blocked.page.evaluate(() => log.errors.map((error) => error.code))
  assert.deepEqual(errors, ['storage-blocked', 'no-locks'])
  assert.deepEqual(await other.page.evaluate(() => log.errors), [])
  stage.quiet()
})

test('a node that sleeps wakes up linked, and is still in its room', async (t) => {
  const { stage, anna, ben } = await pair(t)
  const client = await stage.context.newCDPSession(ben.page)
  await client.send('Page.setWebLifecycleState', { state: 'frozen' })
  await anna.say(ROOM, 'are you there?')
  await client.send('Page.setWebLifecycleState', { state: 'active' })
  await ben.untilHeard(ROOM, anna.peerId, 'are you there?')
  await ben.page.evaluate(() => dispatchEvent(new Event('online')))
  await ben.say(ROOM, 'I am')
  await anna.untilHeard(ROOM, ben.peerId, 'I am')
  assert.deepEqual((await anna.log(ROOM)).leaves, [])
  stage.quiet()
})

test('a page that comes back out of the cache is the same node, in the same rooms', async (t) => {
  const { stage, anna, ben } = await pair(t)
  await ben.page.evaluate((room) => rooms[room].room.setData('Ben'), ROOM)
  // What the browser does, without leaving the page: one with connections is seldom kept.
  await ben.page.evaluate(() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })))
  await anna.until('the leave', (room) => rooms[room].log.leaves.length === 1, ROOM)
  assert.deepEqual(await ben.members(ROOM), [])
  await ben.page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))
  await stage.together(ROOM)
  const named = ([room, peer]) => rooms[room].room.member(peer)?.text() === 'Ben'
  await anna.until('his name', named, [ROOM, ben.peerId])
  await anna.say(ROOM, 'welcome back')
  await ben.untilHeard(ROOM, anna.peerId, 'welcome back')
  assert.deepEqual(await ben.page.evaluate(() => log.states), ['connecting', 'connected', 'offline', 'connecting', 'connected'])
  stage.quiet()
})

test('keys are derived beside the page, and hidden pages get a beat', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const tab = await stage.tab()
  assert.deepEqual(tab.page.workers().map((worker) => worker.url()), [])
  await tab.join(ROOM)
  const urls = tab.page.workers().map((worker) => worker.url())
  assert.deepEqual(urls, [`${stage.web}unamed/src/worker.js`])
  const beat = tab.page.waitForEvent('worker')
  await tab.page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })
    document.dispatchEvent(new Event('visibilitychange'))
  })
  assert.match((await beat).url(), /^blob:/)
  const ended = (await beat).waitForEvent('close')
  await tab.page.evaluate(() => {
    delete document.hidden
    document.dispatchEvent(new Event('visibilitychange'))
  })
  await ended
  stage.quiet()
})

test('a node that is closed says goodbye and is of no more use', async (t) => {
  const { stage, anna, ben } = await pair(t)
  const said = await ben.page.evaluate(async (room) => {
    const joined = rooms[room].room
    let reason
    joined.on('closed', (event) => (reason = event.reason))
    await net.close()
    await net.close()
    const code = (promise) => promise.then(() => 'done', (error) => error.code)
    return [net.state, reason, net.links(), joined.members, await code(net.join('x y z')), await code(joined.broadcast('x')), await code(joined.leave())]
  }, ROOM)
  assert.deepEqual(said, ['closed', 'closed', [], [], 'closed', 'not-joined', 'done'])
  await anna.until('the leave', (room) => rooms[room].log.leaves.length === 1, ROOM)
  assert.equal((await anna.log(ROOM)).leaves[0].reason, 'left')
  stage.quiet()
})
