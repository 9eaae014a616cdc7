// Headless Chromium and its tabs.

import { chromium } from 'playwright-core'

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Tabs of a test are all in the background but one.
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
]

/** Starts Chromium; `mdns` says whether local addresses are hidden behind mDNS names, as they are by default. */
export function launch({ mdns = false } = {}) {
  const hidden = mdns ? [] : ['--disable-features=WebRtcHideLocalIpsWithMdns']
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
  return chromium.launch({ executablePath, args: [...ARGS, ...hidden] })
}

/** A tab on an empty page of the service node's own page server, with the package loaded in it. */
export class Tab {
  static async open(context, web, { init, ...options } = {}) {
    const page = await context.newPage()
    const tab = new Tab(page, web, options)
    if (init) await page.addInitScript(init)
    // A document of the right origin that does nothing by itself.
    await page.goto(`${web}config.json`)
    return tab
  }

  constructor(page, web, { name = 'tab' } = {}) {
    this.page = page
    this.web = web
    this.name = name
    this.faults = []
    page.on('pageerror', (error) => this.faults.push(error))
    page.on('console', (message) => {
      const favicon = message.location().url.endsWith('/favicon.ico')
      if (message.type() === 'error' && !favicon) this.faults.push(new Error(`console: ${message.text()}`))
    })
  }

  /** Connects; what happens is logged in the page. */
  async connect(options) {
    this.peerId = await this.page.evaluate(async (options) => {
      const { connect } = await import('/unamed/index.js')
      if (Array.isArray(options.identity)) options.identity = Uint8Array.from(options.identity)
      const net = await connect(options)
      window.net = net
      window.rooms = {}
      window.log = { states: [net.state], errors: [], links: [], traces: [] }
      net.on('state', (state) => log.states.push(state))
      net.on('error', (error) => log.errors.push({ code: error.code, message: error.message }))
      net.on('link', (link) => log.links.push(link))
      net.on('trace', (trace) => log.traces.push(trace))
      return net.peerId
    }, options)
    return this
  }

  /** Joins a room; what happens there is logged in the page. */
  async join(name, options = {}) {
    return this.page.evaluate(
      async ([name, options]) => {
        const room = await net.join(name, options)
        const log = { joins: [], leaves: [], messages: [], progress: [] }
        window.rooms[name] = { room, log }
        room.on('join', ({ peerId }) => log.joins.push(peerId))
        room.on('leave', (event) => log.leaves.push({ ...event, at: performance.now() }))
        room.on('message', (message) => {
          const large = message.data.length > 4096
          log.messages.push({
            from: message.from,
            id: message.id,
            text: large ? null : message.text(),
            length: message.data.length,
          })
          if (large) window.last = message.data
        })
        room.on('progress', (progress) => log.progress.push(progress))
        return { outcome: room.outcome, alone: room.alone, members: room.members, id: room.id }
      },
      [name, options],
    )
  }

  say(name, data, options) {
    return this.page.evaluate(([name, data, options]) => rooms[name].room.broadcast(data, options), [name, data, options])
  }

  log(name) {
    return this.page.evaluate((name) => rooms[name].log, name)
  }

  members(name) {
    return this.page.evaluate((name) => rooms[name].room.members, name)
  }

  links() {
    return this.page.evaluate(() => net.links())
  }

  /** Waits until a function of the page gives something true. */
  async until(what, condition, arg, ms = 30_000) {
    try {
      const handle = await this.page.waitForFunction(condition, arg, { timeout: ms, polling: 20 })
      return await handle.jsonValue()
    } catch (error) {
      const state = await this.page
        .evaluate(() => ({
          state: window.net?.state,
          links: window.net?.links(),
          metrics: window.net?.metrics(),
          log: window.log,
          rooms: Object.entries(window.rooms ?? {}).map(([name, { room, log }]) => [name, room.members, log.leaves]),
        }))
        .catch((gone) => String(gone))
      throw new Error(`${this.name}: ${what} not within ${ms} ms: ${error.message}\n${JSON.stringify(state, null, 1)}`)
    }
  }

  untilMembers(name, peers, ms) {
    const want = JSON.stringify([...peers].sort())
    return this.until(
      `members of ${name}`,
      ([name, want]) => JSON.stringify(rooms[name].room.members) === want,
      [name, want],
      ms,
    )
  }

  untilHeard(name, from, text, ms) {
    return this.until(
      `message ${text}`,
      ([name, from, text]) => rooms[name].log.messages.some((m) => m.from === from && m.text === text),
      [name, from, text],
      ms,
    )
  }

  untilCarrier(peerId, carrier, ms) {
    return this.until(
      `${carrier} link to ${peerId}`,
      ([peerId, carrier]) => net.links().some((link) => link.peerId === peerId && link.carrier === carrier),
      [peerId, carrier],
      ms,
    )
  }
}
