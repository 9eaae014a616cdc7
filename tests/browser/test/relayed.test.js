// Pairs that WebRTC cannot connect.

import assert from 'node:assert/strict'
import { open, readFile } from 'node:fs/promises'
import { test } from 'node:test'

import { Stage } from '../lib/stage.js'

const ROOM = 'by way of others'

/** What a page does to its own WebRTC before the package is loaded, and why such a pair stays relayed. */
const OBSTACLES = {
  'there is no WebRTC': () => {
    delete window.RTCPeerConnection
  },
  'no candidate is found': () => {
    const { set } = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'onicecandidate')
    Object.defineProperty(RTCPeerConnection.prototype, 'onicecandidate', {
      set(act) {
        set.call(this, act && ((event) => act({ candidate: event.candidate && null })))
      },
    })
    const local = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'localDescription')
    Object.defineProperty(RTCPeerConnection.prototype, 'localDescription', {
      get() {
        const { type, sdp } = local.get.call(this)
        return { type, sdp: sdp.replace(/a=candidate.*\r\n/g, '') }
      },
    })
    // Nor is one of the peer used: it would show this end to it.
    RTCPeerConnection.prototype.addIceCandidate = async () => {}
  },
  'offers cannot be made': () => {
    RTCPeerConnection.prototype.createOffer = async () => {
      throw new DOMException('no', 'OperationError')
    }
    RTCPeerConnection.prototype.createAnswer = RTCPeerConnection.prototype.createOffer
  },
  'descriptions are refused': () => {
    RTCPeerConnection.prototype.setRemoteDescription = async () => {
      throw new DOMException('no', 'InvalidAccessError')
    }
  },
  'the own description is unreadable': () => {
    Object.defineProperty(RTCPeerConnection.prototype, 'localDescription', { get: () => ({ type: 'offer', sdp: 'v=0' }) })
  },
  'the certificate is another one than was signed': () => {
    const local = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'localDescription')
    Object.defineProperty(RTCPeerConnection.prototype, 'localDescription', {
      get() {
        const { type, sdp } = local.get.call(this)
        return { type, sdp: sdp.replace(/(a=fingerprint:sha-256 )..:../, '$100:00') }
      },
    })
  },
  'the constructor throws': () => {
    window.RTCPeerConnection = function () {
      throw new DOMException('no', 'NotSupportedError')
    }
  },
}

for (const [obstacle, init] of Object.entries(OBSTACLES)) {
  test(`where ${obstacle}, a tab joins all the same, relayed`, async (t) => {
    const stage = await Stage.open(t)
    const anna = await stage.tab()
    const ben = await stage.tab({ init })
    await anna.join(ROOM)
    await ben.join(ROOM)
    await stage.together(ROOM)
    // Not before the direct way was tried, by whoever tries it here, and given up.
    const tried = (tab) => tab.until('an attempt that failed', () => net.metrics().webrtc_failed > 0)
    if (obstacle !== 'there is no WebRTC') await Promise.any([tried(anna), tried(ben)])
    for (const [from, to] of [[anna, ben], [ben, anna]]) {
      await from.say(ROOM, `from ${from.name}`)
      await to.untilHeard(ROOM, from.peerId, `from ${from.name}`)
      await to.untilCarrier(from.peerId, 'relayed')
      assert.deepEqual((await to.log(ROOM)).leaves, [])
    }
    stage.quiet()
  })
}

test('a relay cannot read what it carries', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const [anna, ben] = [await stage.tab({ webrtc: false }), await stage.tab({ webrtc: false })]
  const sent = []
  anna.page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => sent.push(Buffer.from(payload))))
  await Promise.all(stage.tabs.map((tab) => tab.join(ROOM)))
  await stage.together(ROOM)
  // Text that occurs nowhere but in this message, and is put together where it is sent.
  const marks = ['kx7Qm2vT', 'pW9zR4nL', 'dH3sB8cY', 'jF6gN1uE']
  const text = await anna.page.evaluate(([room, marks]) => {
    const text = marks.join('-').repeat(64)
    rooms[room].room.broadcast(text)
    return text
  }, [ROOM, marks])
  await ben.untilHeard(ROOM, anna.peerId, text)
  await ben.untilCarrier(anna.peerId, 'relayed')
  const needle = Buffer.from(marks.join('-'))
  assert.equal(await inMemory(stage.services[0].child.pid, needle), false, 'the relay has the text in its memory')
  assert.ok(sent.every((frame) => !frame.includes(needle)), 'the text is on the wire')
  // The search itself is sound: what the program must have is found.
  assert.equal(await inMemory(stage.services[0].child.pid, Buffer.from(stage.services[0].peerId)), true)
})

/** Whether a process has these bytes in its memory. */
async function inMemory(pid, needle) {
  const memory = await open(`/proc/${pid}/mem`)
  try {
    for (const line of (await readFile(`/proc/${pid}/maps`, 'utf8')).split('\n')) {
      const [, from, to, rights] = line.match(/^([0-9a-f]+)-([0-9a-f]+) (....)/) ?? []
      if (!rights?.startsWith('rw')) continue
      const [begin, end] = [parseInt(from, 16), parseInt(to, 16)]
      if (await inRange(memory, begin, end, needle)) return true
    }
    return false
  } finally {
    await memory.close()
  }
}

async function inRange(memory, begin, end, needle) {
  const step = 1 << 22
  for (let at = begin; at < end; at += step) {
    const length = Math.min(step + needle.length, end - at)
    const { bytesRead, buffer } = await memory.read(Buffer.alloc(length), 0, length, at).catch(() => ({ bytesRead: 0 }))
    if (bytesRead > 0 && buffer.subarray(0, bytesRead).includes(needle)) return true
  }
  return false
}
