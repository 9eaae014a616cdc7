// Signals of a hostile peer, and stacks that a hostile peer lets wait. Each test names its rows of this table.
//
// | row | what a peer does | outcome in the core | here |
// |---|---|---|---|
// | 75 | sends a session description as text, of any size or with other media | there is no field for text | the description that the browser gets is written from fields |
// | 76 | a fingerprint of SHA-1, of another length, or two | does not decode; counted, dropped | no stack is made |
// | 77 | line breaks in user name or password | does not decode; counted, dropped | no stack is made |
// | 78 | offers with the higher id, or with a settled role | refused, counted | no stack is made, the own offer stands |
// | 79 | candidates of no use, the 17th, one after the end | dropped, each counted | never reach the browser |
// | 80 | answers without an offer; describes itself twice; offers over a live link | refused, counted | never reach the browser. The live link: `direct/tests.rs` of the core, since two honest stacks make it |
// | 81 | opens the channel and proves nothing | closed when the handshake's time is over | closed; relayed meanwhile |
// | 82 | a second channel; another stream, label, no order | the driver's | the link ends, or never comes: `hostile.test.js` |
// | 83 | chunks with gaps, totals beyond the bound | closes the link | closed; the next one delivers |
// | 84 | nothing, so that ICE fails | given up after its time-out | the stack is closed, relayed meanwhile. A refusing browser: `relayed.test.js`; a frozen tab: `life.test.js` |

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { candidate, description, Hostile, SETUP, signal, varint } from '../lib/hostile.js'
import { Stage } from '../lib/stage.js'

const ROOM = 'a room with a liar'

/** Notes what is asked of the browser's WebRTC. */
const watch = () => {
  window.stacks = []
  const Stack = RTCPeerConnection
  window.RTCPeerConnection = class extends Stack {
    constructor(...args) {
      super(...args)
      this.asked = []
      stacks.push(this)
    }
    setRemoteDescription(description) {
      this.asked.push([description.type, description.sdp])
      return super.setRemoteDescription(description)
    }
    addIceCandidate(candidate) {
      this.asked.push(['candidate', candidate.candidate])
      return super.addIceCandidate(candidate)
    }
  }
}

/** A tab and a hostile member on the given side of it, linked by a circuit. */
async function meet(t, side, { listen } = {}) {
  const stage = await Stage.open(t, { services: 0 })
  const service = await stage.service({ web: true, listen })
  const tab = await stage.tab({ service, init: watch })
  await tab.join(ROOM)
  const hostile = await Hostile.start({ service, room: ROOM, side, tab })
  t.after(() => hostile.kill())
  await tab.untilMembers(ROOM, [hostile.peerId])
  return { stage, service, tab, hostile, told: counters(tab, hostile) }
}

/** Sends messages, and tells which counters that raised at the tab. */
function counters(tab, hostile) {
  const KEPT = ['messages_undecodable', 'signals_invalid', 'signals_late', 'candidates_refused']
  const look = () => tab.page.evaluate(() => net.metrics())
  let sent = 0
  return async (...messages) => {
    const before = await look()
    hostile.send(...messages)
    sent += 1
    const said = ([room, from, sent]) => rooms[room].log.messages.filter((m) => m.from === from).length === sent
    await tab.until('the message behind', said, [ROOM, hostile.peerId, sent])
    const after = await look()
    return Object.fromEntries(KEPT.filter((name) => after[name] > before[name]).map((name) => [name, after[name] - before[name]]))
  }
}

const stacks = (tab) => tab.page.evaluate(() => stacks.map(({ asked }) => asked))
const kinds = async (tab) => (await stacks(tab)).map((asked) => asked.map(([kind]) => kind))

/** The pair talks on, relayed, and nobody was thought gone. */
async function talksOn({ stage, tab, hostile }) {
  await tab.say(ROOM, 'still here?')
  await hostile.wait('message', (event) => event.event === 'message' && event.text === 'still here?')
  await tab.untilCarrier(hostile.peerId, 'relayed')
  assert.deepEqual((await tab.log(ROOM)).leaves, [])
  stage.quiet()
}

const ATTEMPT = 7

/** Offers with these parts, each of which is refused and none of which reaches a stack. Ten at once would be a ban. */
async function refused(t, bad, ...others) {
  const met = await meet(t, 'below')
  const offers = bad.map((parts) => signal(ATTEMPT, 'offer', description(parts)))
  assert.deepEqual(await met.told(...offers, ...others), { messages_undecodable: bad.length + others.length })
  assert.deepEqual(await stacks(met.tab), [])
  await talksOn(met)
}

test('76: descriptions with another fingerprint, or two, are none', async (t) => {
  const bad = [
    { fingerprint: Buffer.alloc(20, 0xee) },
    { fingerprint: Buffer.alloc(31, 0xee) },
    { fingerprint: Buffer.alloc(64, 0xee) },
    { setup: 3 },
  ]
  const twice = Buffer.concat([signal(ATTEMPT, 'offer', description()), Buffer.alloc(32, 0xee)])
  await refused(t, bad, twice)
})

test('77: descriptions with a line break, and other illegal texts, are none', async (t) => {
  const lines = 'abcd\r\na=fingerprint:sha-256 00'
  const bad = [
    { ufrag: lines },
    { ufrag: 'abc' },
    { ufrag: 'a'.repeat(257) },
    { pwd: `abcdefghijklmnopqrstuvwx\r\nm=audio 9 RTP/AVP 0` },
    { pwd: 'abcdefghijklmnopqrst u' },
  ]
  await refused(t, bad)
})

test('75, 78, 79, 80: of what an offerer sends, a browser gets a description of ours and usable candidates', async (t) => {
  const met = await meet(t, 'below')
  const { tab, hostile, told } = met
  const settled = [SETUP.active, SETUP.passive].map((setup) => signal(ATTEMPT, 'offer', description({ setup })))
  assert.deepEqual(await told(...settled), { signals_invalid: 2 })
  const early = [signal(ATTEMPT, 'answer', description({ setup: SETUP.active })), signal(ATTEMPT, 'candidate', candidate()), signal(ATTEMPT, 'end')]
  assert.deepEqual(await told(...early), { signals_late: 3 })
  assert.deepEqual(await stacks(tab), [], 'nothing so far is an attempt')

  // The second offer is one too many, whatever attempt it is for.
  const offer = signal(ATTEMPT, 'offer', description({ candidates: [candidate({ port: 100 })] }))
  const again = signal(ATTEMPT + 1, 'offer', description())
  assert.deepEqual(await told(offer, offer, again), { signals_invalid: 2 })
  assert.equal((await hostile.signal()).kind, 'answer')
  const bad = [
    { port: 0 },
    { priority: 0 },
    { host: '0.0.0.0' },
    { host: '224.0.0.251' },
    { host: Buffer.concat([Buffer.from([3, 11]), Buffer.from('example.com')]) },
    { kind: 3, host: Buffer.alloc(17, 2) },
    { host: Buffer.concat([Buffer.from([1]), Buffer.from('00000000000000000000ffff7f000001', 'hex')]) },
    { kind: 4 },
  ]
  const none = bad.map((parts) => signal(ATTEMPT, 'candidate', candidate(parts)))
  assert.deepEqual(await told(...none), { messages_undecodable: bad.length })
  // One came in the offer: 15 more are taken, then none, and after the end neither.
  const many = Array.from({ length: 16 }, (_, index) => signal(ATTEMPT, 'candidate', candidate({ port: 101 + index })))
  assert.deepEqual(await told(...many), { signals_invalid: 1 })
  const end = signal(ATTEMPT, 'end')
  assert.deepEqual(await told(end, end, many[0]), { signals_invalid: 2 })

  await tab.until('all candidates', () => stacks[0].asked.length === 17)
  const [[[kind, sdp], ...candidates], ...others] = await stacks(tab)
  assert.deepEqual([kind, others], ['offer', []])
  assert.equal(sdp.match(/^m=/gm).length, 1)
  assert.deepEqual(sdp.match(/^a=fingerprint:.*$/gm), [`a=fingerprint:sha-256 ${Array(32).fill('EE').join(':')}`])
  const ports = candidates.slice(0, -1).map(([, line]) => Number(line.split(' ')[5]))
  assert.deepEqual(ports, Array.from({ length: 15 }, (_, index) => 101 + index))
  assert.deepEqual(candidates.at(-1), ['candidate', ''])
  await talksOn(met)
})

test('78, 80: an offer of the higher id, and all but the first right answer, leave the own offer as it is', async (t) => {
  const met = await meet(t, 'above')
  const { tab, hostile, told } = met
  const { attempt, kind } = await hostile.signal()
  assert.equal(kind, 'offer')
  const offers = [attempt, attempt + 1n].map((attempt) => signal(attempt, 'offer', description()))
  assert.deepEqual(await told(...offers), { signals_invalid: 2 }, 'glare')
  const answer = (attempt, setup) => signal(attempt, 'answer', description({ setup }))
  assert.deepEqual(await told(answer(attempt + 1n, SETUP.active)), { signals_late: 1 })
  assert.deepEqual(await told(answer(attempt, SETUP.actpass)), { signals_invalid: 1 })
  assert.deepEqual(await kinds(tab), [[]])
  const right = answer(attempt, SETUP.active)
  assert.deepEqual(await told(right, right), { signals_invalid: 1 }, 'the second')
  await tab.until('the answer', () => stacks[0].asked.length > 0)
  assert.deepEqual(await kinds(tab), [['answer']])
  await talksOn(met)
})

test('79: candidates on the own machine reach only those that know such places', async (t) => {
  const met = await meet(t, 'below', { listen: '192.0.2.1:0' })
  const { tab, hostile, told } = met
  const local = candidate({ host: '127.0.0.1', port: 5000 })
  const offer = signal(ATTEMPT, 'offer', description({ candidates: [local] }))
  const others = [signal(ATTEMPT, 'candidate', local), signal(ATTEMPT, 'candidate', candidate({ port: 5001 })), signal(ATTEMPT, 'end')]
  assert.deepEqual(await told(offer, ...others), { candidates_refused: 1 })
  assert.equal((await hostile.signal()).kind, 'answer')
  await tab.until('what is left', () => stacks[0].asked.length === 3)
  const [asked] = await stacks(tab)
  assert.ok(asked.every(([, text]) => !text.includes('127.0.0.1 5000')), JSON.stringify(asked))
  await talksOn(met)
})

test('84: a peer whose ICE never connects stays relayed, and the stack is closed', async (t) => {
  const met = await meet(t, 'below')
  const { tab, told } = met
  const offer = signal(ATTEMPT, 'offer', description({ candidates: [candidate()] }))
  assert.deepEqual(await told(offer, signal(ATTEMPT, 'end')), {})
  await tab.until('the end of the attempt', () => net.metrics().webrtc_failed === 1)
  await tab.until('a closed stack', () => stacks[0].signalingState === 'closed')
  assert.equal((await stacks(tab)).length, 1)
  await talksOn(met)
})

test('81: a peer that opens the channel and proves nothing is relayed', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const tab = await stage.tab({ init: watch })
  const mute = await stage.tab({
    init: () => {
      RTCDataChannel.prototype.send = () => {}
    },
  })
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  await stage.together(ROOM)
  await tab.until('the end of the attempt', () => net.metrics().webrtc_failed > 0)
  await tab.until('a closed stack', () => stacks[0].signalingState === 'closed')
  assert.ok(await tab.page.evaluate(() => log.traces.some((trace) => trace.type === 'webrtc')), 'its channel was open')
  assert.deepEqual(await tab.page.evaluate(() => log.links.filter((link) => link.carrier === 'webrtc')), [])
  await tab.say(ROOM, 'still here?')
  await mute.untilHeard(ROOM, tab.peerId, 'still here?')
  assert.deepEqual((await tab.log(ROOM)).leaves, [])
  stage.quiet()
})

const first = (of, total) => Buffer.concat([Buffer.from([2, of]), varint(total), varint(1), Buffer.from([SIGNAL])])
const SIGNAL = 64
const CHUNKS = {
  'a part without a beginning': [Buffer.from([3, 1, 1, 0])],
  'a beginning that more follows': [first(1, 100)],
  'a part beyond the frame': [Buffer.from([3, 1, 0xff, 0xff, 0xff, 0xff, 0x0f])],
  'an end of nothing': [Buffer.from([4, 3])],
  'a total of a gibibyte': [first(3, 2 ** 30)],
  'a tag of no kind': [Buffer.from([9, 1, 0])],
}

for (const [what, chunks] of Object.entries(CHUNKS)) {
  test(`83: ${what} ends the link, and the next one delivers`, async (t) => {
    const met = await meet(t, 'below')
    const { tab, hostile } = met
    hostile.chunks(...chunks)
    await tab.until('the end of the link', (peerId) => log.links.some((link) => link.type === 'closed' && link.peerId === peerId), hostile.peerId)
    await tab.until('what was in the frame', ([room, from]) => rooms[room].log.messages.some((m) => m.from === from), [ROOM, hostile.peerId])
    await talksOn(met)
  })
}
