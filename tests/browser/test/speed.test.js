// How long it takes from clicking join to the first message between two fresh tabs.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Stage } from '../lib/stage.js'

const RUNS = 9
const BAR_MS = 1000

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]

test(`from join to the first message over WebRTC: median under ${BAR_MS} ms`, { timeout: 180_000 }, async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const rows = []
  for (let run = 0; run < RUNS; run++) {
    const room = `a fresh room ${run}`
    const anna = await stage.tab({ fresh: true })
    const ben = await stage.tab({ fresh: true })
    for (const tab of [anna, ben]) await tab.until('a service node', () => net.state === 'connected')
    await anna.join(room)
    await anna.page.evaluate((room) => {
      // Answers the newcomer as soon as the link is a direct one.
      rooms[room].room.on('join', ({ peerId }) => {
        const greet = () => net.links().some((link) => link.peerId === peerId && link.carrier === 'webrtc')
        const off = net.on('link', () => greet() && (off(), rooms[room].room.broadcast('welcome')))
        if (greet()) rooms[room].room.broadcast('welcome')
      })
    }, room)
    rows.push(await ben.page.evaluate(async (room) => {
      const began = performance.now()
      const joined = await net.join(room)
      const joinedMs = performance.now() - began
      await new Promise((resolve) => joined.on('message', resolve))
      const { deriveMs, findMs } = log.traces.find((trace) => trace.type === 'join')
      const rtc = log.traces.find((trace) => trace.type === 'webrtc')
      const described = Math.max(rtc.describedMs, rtc.answeredMs)
      const connected = rtc.connectedMs ?? rtc.openMs
      return {
        all: performance.now() - began,
        key: deriveMs,
        'find and link': findMs,
        joined: joinedMs,
        // Of the dial: both descriptions are there, ICE and DTLS are done, the channel is open.
        signals: described,
        'ICE and DTLS': connected - described,
        channel: rtc.openMs - connected,
      }
    }, room))
    for (const tab of [anna, ben]) await tab.page.context().close()
  }
  for (const phase of Object.keys(rows[0])) {
    t.diagnostic(`${phase}: median ${median(rows.map((row) => row[phase])).toFixed(0)} ms`)
  }
  assert.ok(median(rows.map((row) => row.all)) < BAR_MS)
})
