// The demo page, as people use it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Stage } from '../lib/stage.js'
import { Tab } from '../lib/browser.js'

async function open(stage, query = '', options = {}) {
  const context = options.context ?? stage.context
  const page = await context.newPage()
  const tab = new Tab(page, stage.web, { name: options.name ?? 'page' })
  await page.goto(`${stage.web}${query}`)
  await page.waitForSelector('#state[data-state=connected]')
  return tab
}

async function join(tab, room) {
  await tab.page.fill('#room-name', room)
  await tab.page.click('#join button[type=submit]')
  await tab.page.waitForFunction((room) => document.querySelector('#room-title').textContent === room, room)
}

const text = (tab, selector) => tab.page.locator(selector).allTextContents()

test('two tabs of one browser join, talk, make primary and leave', async (t) => {
  const stage = await Stage.open(t)
  const [anna, ben] = [await open(stage, '', { name: 'anna' }), await open(stage, '', { name: 'ben' })]
  await join(anna, 'tea')
  await join(ben, 'tea')
  for (const tab of [anna, ben]) {
    await tab.page.waitForFunction(() => document.querySelectorAll('#members li').length === 2)
    await tab.page.waitForFunction(() => document.querySelector('#members [data-carrier=webrtc]'))
    // Its round-trip time is shown beside it.
    await tab.page.waitForFunction(() => /\d ms/.test(document.querySelector('#members [data-carrier]').textContent))
  }
  await anna.page.fill('#text', 'who is <b>there</b>?')
  await anna.page.press('#text', 'Enter')
  await ben.page.getByText('who is <b>there</b>?').waitFor()
  await ben.page.selectOption('#to', { index: 1 })
  await ben.page.fill('#text', 'only me')
  await ben.page.click('#say button[type=submit]')
  await anna.page.getByText('only me').waitFor()
  await anna.page.getByText('to you alone').waitFor()
  await anna.page.click('#large')
  await ben.page.waitForFunction(() => /5\.0 MiB/.test([...document.querySelectorAll('.bubble a')].map((a) => a.parentElement.textContent).join()))

  await join(anna, 'chess')
  await anna.page.click('#primary')
  await anna.page.waitForFunction(() => document.querySelector('#primary').disabled)
  const rooms = await text(anna, '#room-list button')
  assert.ok(rooms.some((row) => row.startsWith('chess') && row.includes('primary')), rooms.join())
  await anna.page.waitForFunction(() => document.querySelectorAll('#picture circle').length > 2 && document.querySelector('#picture rect'))
  await anna.page.waitForFunction(() => /hop/.test(document.querySelector('#find-line').textContent))
  await anna.page.click('#leave')
  await anna.page.waitForFunction(() => document.querySelectorAll('#room-list li').length === 1)

  // A reload comes back as the same node, into the same room.
  const before = await ben.page.evaluate(() => unamed.net.peerId)
  await ben.page.reload()
  await ben.page.waitForFunction(() => document.querySelectorAll('#members li').length === 2)
  assert.equal(await ben.page.evaluate(() => unamed.net.peerId), before)
  assert.equal(await ben.page.evaluate(() => typeof unamed.connect), 'function')
  await ben.page.click('#toggle')
  await ben.page.waitForSelector('#state[data-state=closed]')
  stage.quiet([anna, ben])
})

test('names are shown beside ids, and cannot pass for anything else', async (t) => {
  const stage = await Stage.open(t)
  // Two browsers: tabs of one remember one name.
  const open_as = async (name) => open(stage, '', { name, context: await stage.browser.newContext() })
  const [anna, ben] = [await open_as('anna'), await open_as('ben')]
  const call = async (tab, name) => {
    await tab.page.fill('#own-name', name)
    await tab.page.dispatchEvent('#own-name', 'change')
  }
  await call(anna, 'Anna <b>')
  await join(anna, 'tea')
  await join(ben, 'tea')
  const shows = (tab, name) =>
    tab.page.waitForFunction(
      (name) => [...document.querySelectorAll('#members .name')].some((one) => one.textContent.startsWith(`\u2068${name}\u2069 (`)),
      name,
    )
  await shows(ben, 'Anna <b>')
  await shows(anna, 'Anna <b>')
  await call(ben, 'Ben')
  await shows(anna, 'Ben')
  await ben.page.fill('#text', 'hello')
  await ben.page.press('#text', 'Enter')
  await anna.page.getByText('hello').waitFor()
  assert.ok((await text(anna, '.bubble .meta')).some((line) => line.includes('Ben')))
  await call(ben, 'x\u202Ey\u200B\u2066z' + 'w'.repeat(40))
  await shows(anna, 'xyz' + 'w'.repeat(21))
  // It is remembered, and there before anything has come from the server.
  await anna.page.route('**/config.json', async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 500))
    await route.continue()
  })
  await anna.page.reload()
  assert.equal(await anna.page.inputValue('#own-name'), 'Anna <b>')
  await shows(ben, 'Anna <b>')
  await Promise.all([anna, ben].map((tab) => tab.page.context().close()))
})

test('the page starts where its URL says, and opens a shared room', async (t) => {
  const stage = await Stage.open(t)
  const elsewhere = encodeURIComponent(stage.services[1].address)
  const tab = await open(stage, `?bootstrap=${elsewhere}&room=tea`)
  await tab.page.waitForFunction(() => document.querySelector('#room-title').textContent === 'tea')
  assert.equal(await tab.page.inputValue('#bootstrap'), stage.services[1].address)
  stage.quiet([tab])
})

test('it fits a phone', async (t) => {
  const stage = await Stage.open(t, { services: 1 })
  const context = await stage.browser.newContext({ viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true })
  const tab = await open(stage, '', { context })
  await join(tab, 'tea')
  for (const view of ['rooms', 'room', 'people', 'network']) {
    await tab.page.tap(`nav [data-go=${view}]`)
    assert.deepEqual(await tab.page.locator('main > section:visible').evaluateAll((all) => all.map((one) => one.id)), [view])
    const width = await tab.page.evaluate(() => document.documentElement.scrollWidth)
    assert.ok(width <= 360, `${view} is ${width} wide`)
  }
  stage.quiet([tab])
})
