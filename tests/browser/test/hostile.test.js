// Peers whose WebRTC breaks the rules, and browsers that are slow with it. The page of the offender is altered before the
// package is loaded in it; the other page must stand it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Stage } from '../lib/stage.js'

const ROOM = 'a room with a troublemaker'

/** Keeps the channels of a page, and does something once to the first one that opens. */
const onFirstChannel = (act) => `
  const create = RTCPeerConnection.prototype.createDataChannel
  let done = false
  RTCPeerConnection.prototype.createDataChannel = function (label, init) {
    const channel = create.call(this, label, init)
    window.channels = [...(window.channels ?? []), { label, init, channel }]
    channel.addEventListener('open', () => {
      if (done) return
      done = true
      setTimeout(() => (${act})(this, channel), 300)
    })
    return channel
  }
`

const OFFENCES = {
  'opens a second channel (82)': '(connection) => connection.createDataChannel("another", { ordered: false })',
  'sends text': '(connection, channel) => channel.send("hello")',
  'sends a frame that is too large': '(connection, channel) => channel.send(new Uint8Array(100000))',
  'sends noise': '(connection, channel) => channel.send(crypto.getRandomValues(new Uint8Array(200)))',
}

for (const [offence, act] of Object.entries(OFFENCES)) {
  test(`a peer that ${offence} loses its link and nothing else happens`, async (t) => {
    const stage = await Stage.open(t)
    const honest = await stage.tab({ name: 'honest' })
    const offender = await stage.tab({ name: 'offender', init: onFirstChannel(act) })
    await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
    await stage.together(ROOM)
    await honest.until('the end of the link', (peerId) => {
      const opened = log.links.findIndex((link) => link.type === 'opened' && link.peerId === peerId && link.carrier === 'webrtc')
      return opened >= 0 && log.links.slice(opened).some((link) => link.type === 'closed' && link.peerId === peerId)
    }, offender.peerId)
    // Relayed meanwhile, without an event to the application.
    await honest.say(ROOM, 'still here?')
    await offender.untilHeard(ROOM, honest.peerId, 'still here?')
    await offender.say(ROOM, 'still here')
    await honest.untilHeard(ROOM, offender.peerId, 'still here')
    assert.deepEqual((await honest.log(ROOM)).leaves, [])
    const channels = await offender.page.evaluate(() => channels.map(({ label, init }) => ({ label, ...init })))
    assert.deepEqual(channels[0], { label: 'unamed', negotiated: true, id: 0, ordered: true })
    stage.quiet()
  })
}

// What an end calls stream 0, and in which order it sends there, shows at the other end in broken frames at most.
test('82: a peer whose one channel is on another stream, with another label and no order, stays relayed', async (t) => {
  const stage = await Stage.open(t)
  const honest = await stage.tab({ name: 'honest' })
  const init = () => {
    const create = RTCPeerConnection.prototype.createDataChannel
    RTCPeerConnection.prototype.createDataChannel = function () {
      return create.call(this, 'unknown', { negotiated: true, id: 1, ordered: false })
    }
  }
  const offender = await stage.tab({ name: 'offender', init })
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  await stage.together(ROOM)
  await honest.until('the end of the attempt', () => net.metrics().webrtc_failed > 0)
  for (const [from, to] of [[honest, offender], [offender, honest]]) {
    await from.say(ROOM, `from ${from.name}`)
    await to.untilHeard(ROOM, from.peerId, `from ${from.name}`)
  }
  await honest.untilCarrier(offender.peerId, 'relayed')
  assert.deepEqual((await honest.log(ROOM)).leaves, [])
  stage.quiet()
})

test('candidates wait for the description that they belong to', async (t) => {
  const stage = await Stage.open(t, { mdns: false })
  // A browser that takes its time with descriptions, while candidates come in.
  const init = () => {
    window.order = []
    const { setRemoteDescription, addIceCandidate } = RTCPeerConnection.prototype
    RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
      order.push(['description', description.type, description.sdp])
      await new Promise((resolve) => setTimeout(resolve, 400))
      await setRemoteDescription.call(this, description)
      order.push(['set'])
    }
    RTCPeerConnection.prototype.addIceCandidate = async function (candidate) {
      order.push(['candidate', candidate.candidate])
      return addIceCandidate.call(this, candidate)
    }
    // None in the description itself, so that the link needs those that come after it.
    const local = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'localDescription')
    Object.defineProperty(RTCPeerConnection.prototype, 'localDescription', {
      get() {
        const { type, sdp } = local.get.call(this)
        return { type, sdp: sdp.replace(/a=candidate.*\r\n/g, '') }
      },
    })
  }
  const [anna, ben] = [await stage.tab({ init }), await stage.tab({ init })]
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  await stage.together(ROOM)
  await Promise.all([anna.untilCarrier(ben.peerId, 'webrtc'), ben.untilCarrier(anna.peerId, 'webrtc')])
  for (const tab of [anna, ben]) {
    const order = await tab.page.evaluate(() => order)
    const kinds = order.map(([kind]) => kind)
    assert.equal(kinds.indexOf('description'), 0, `${tab.name}: ${kinds}`)
    assert.ok(kinds.indexOf('candidate') > kinds.indexOf('set'), `${tab.name}: ${kinds}`)
    const [, , sdp] = order[0]
    assert.equal(sdp.match(/^m=/gm).length, 1)
    assert.equal(sdp.match(/^a=fingerprint:/gm).length, 1)
    for (const [, line] of order.filter(([kind, line]) => kind === 'candidate' && line !== '')) {
      assert.match(line, /^candidate:\d+ 1 udp \d+ [0-9a-f.:-]+(\.local)? \d+ typ (host|srflx|prflx|relay)( raddr [0-9.:]+ rport 0)?$/)
    }
  }
  stage.quiet()
})
