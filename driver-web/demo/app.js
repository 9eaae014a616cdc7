// The demo page. What it does with the network is in the first half, what it shows in the second.

import { connect } from './unamed/index.js'
import { picture } from './picture.js'

const $ = (id) => document.getElementById(id)
const query = new URLSearchParams(location.search)
const MIB = 1024 * 1024
const MESSAGES_SHOWN = 400
const NAME_SHOWN = 24

/** What is shown. A view: `{ room, log, unread }`. */
const views = new Map()
let net
let current
let route
let config = {}

window.unamed = { connect, net }

// --- the network

async function start() {
  const bootstrap = $('bootstrap').value.split(/\s+/).filter(Boolean)
  net = await connect({ bootstrap, network: query.get('network') ?? config.network, webrtc: query.get('webrtc') !== 'off' })
  window.unamed.net = net
  net.on('state', show)
  net.on('error', (error) => toast(error.message))
  net.on('link', showSoon)
  net.on('primary', showSoon)
  show()
  for (const { name, passphrase } of remembered()) await enter(name, passphrase)
}

async function stop() {
  const old = net
  net = undefined
  window.unamed.net = undefined
  for (const view of views.values()) note(view, 'disconnected')
  views.clear()
  current = undefined
  route = undefined
  show()
  await old?.close()
}

async function enter(name, passphrase = '') {
  if (!net) await start()
  const known = [...views.values()].find((view) => view.room.name === name)
  if (known) return select(known)
  $('join').querySelector('button').disabled = true
  try {
    const room = await net.join(name, { passphrase, data: ownName() })
    const view = { room, passphrase, names: new Map(), log: [], unread: 0, receiving: new Map(), sending: new Map() }
    views.set(room.id, view)
    remember()
    note(view, welcome(room))
    attend(view)
    select(view)
    seek(name, passphrase)
  } catch (error) {
    toast(error.message)
  } finally {
    $('join').querySelector('button').disabled = false
  }
}

function welcome(room) {
  if (room.outcome === 'offline') return 'no service node is reached yet; still trying'
  if (room.outcome === 'unreachable') return 'others are in this room; reaching for them'
  return room.alone ? 'you are the first one here' : `you are in, with ${people(room.members.length)}`
}

function attend(view) {
  const { room } = view
  let replayed = true
  room.on('join', (member) => {
    view.names.set(member.peerId, nameOf(member))
    if (!replayed) note(view, `${who(view, member.peerId)} came in`)
    showSoon()
  })
  replayed = false
  room.on('change', (member) => {
    const before = view.names.get(member.peerId)
    view.names.set(member.peerId, nameOf(member))
    if (before) note(view, `${isolated(before)} is ${who(view, member.peerId)}`)
    showSoon()
  })
  room.on('leave', ({ peerId, reason }) => {
    view.receiving.delete(peerId)
    note(view, `${who(view, peerId)} left${reason === 'lost' ? ' (connection lost)' : ''}`)
  })
  room.on('message', (message) => receive(view, message))
  room.on('progress', (progress) => (progress.direction === 'in' ? receiving(view, progress) : sending(view, progress)))
  room.on('merge', ({ members }) => note(view, `two parts of this room have met: ${people(members.length)} more`))
  room.on('lost', ({ from, count }) => note(view, `${count} messages of ${who(view, from)} are lost`))
  room.on('closed', ({ reason }) => {
    if (reason === 'full') toast(`${room.name} is full`)
  })
}

async function seek(name, passphrase) {
  try {
    const report = await net.find(name, { passphrase })
    route = report.route
    const hops = Math.max(0, report.route.length - 1)
    $('find-line').textContent =
      hops === 0 && report.members.length === 0
        ? `no answer for “${name}”`
        : `“${name}”: ${hops} ${hops === 1 ? 'hop' : 'hops'}, ${people(report.members.length)}, ${report.elapsedMs.toFixed(0)} ms`
    showSoon()
  } catch (error) {
    if (error.code !== 'closed') toast(error.message)
  }
}

async function send(data, describe) {
  const view = current
  if (!view) return
  const to = $('to').value
  const large = data.length > 64 * 1024
  const entry = { mine: true, from: net.peerId, at: Date.now(), to: to && who(view, to), ...describe }
  if (large) entry.progress = 0
  put(view, entry)
  try {
    const id = await view.room.broadcast(data, to ? { to: [to] } : {})
    if (large) view.sending.set(id, { entry, shares: new Map(), of: to ? 1 : view.room.members.length })
    if (view.room.alone) entry.progress = undefined
  } catch (error) {
    entry.failed = error.message
  }
  showSoon()
}

function sending(view, { id, peerId, bytes, total }) {
  const sent = view.sending.get(id)
  if (!sent) return
  sent.shares.set(peerId, bytes / total)
  const sum = [...sent.shares.values()].reduce((a, b) => a + b, 0)
  sent.entry.progress = sum / Math.max(sent.of, sent.shares.size)
  if (sent.entry.progress >= 1) {
    sent.entry.progress = undefined
    view.sending.delete(id)
  }
  showSoon()
}

function receiving(view, { peerId, bytes, total }) {
  let entry = view.receiving.get(peerId)
  if (!entry && bytes < total) {
    entry = { from: peerId, who: who(view, peerId), at: Date.now(), text: '', progress: 0 }
    view.receiving.set(peerId, entry)
    put(view, entry)
  }
  if (entry) {
    entry.progress = bytes / total
    entry.text = `${size(bytes)} of ${size(total)}`
  }
  showSoon()
}

function receive(view, message) {
  const { from, data } = message
  const entry = view.receiving.get(from)
  const shown = content(message)
  if (entry && data.length > 16 * 1024) {
    view.receiving.delete(from)
    Object.assign(entry, shown, { progress: undefined, private: message.directed })
    return showSoon()
  }
  put(view, { from, who: who(view, from), at: Date.now(), private: message.directed, ...shown })
}

/** A message as it is shown: as text if it is some, else as an image or a file. */
function content({ id, data }) {
  if (data.length <= 64 * 1024) {
    try {
      return { text: new TextDecoder('utf-8', { fatal: true }).decode(data) }
    } catch {
      // No text.
    }
  }
  return blob(new Blob([data], { type: imageType(data) }), `${id.slice(0, 12)}.bin`)
}

function blob(content, name) {
  const url = URL.createObjectURL(content)
  const image = content.type.startsWith('image/')
  return { text: '', file: { url, name, image, bytes: content.size } }
}

function imageType(bytes) {
  const starts = (...start) => start.every((byte, index) => bytes[index] === byte)
  if (starts(0x89, 0x50, 0x4e, 0x47)) return 'image/png'
  if (starts(0xff, 0xd8, 0xff)) return 'image/jpeg'
  if (starts(0x47, 0x49, 0x46, 0x38)) return 'image/gif'
  if (starts(0x52, 0x49, 0x46, 0x46)) return 'image/webp'
  return 'application/octet-stream'
}

// --- names

/** Without what cannot be seen or turns the direction of writing, and short: a name of a stranger may be anything. */
const clean = (text) => [...text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '').trim()].slice(0, NAME_SHOWN).join('')

function nameOf(member) {
  try {
    return clean(new TextDecoder('utf-8', { fatal: true }).decode(member.data))
  } catch {
    return ''
  }
}

/** A name in a direction of its own, so that it turns nothing beside it. */
const isolated = (name) => `\u2068${name}\u2069`

/** The name and, as anybody can take any name, the id. */
const called = (name, peerId) => (name ? `${isolated(name)} (${short(peerId)})` : short(peerId))

const who = (view, peerId) => called(view?.names.get(peerId), peerId)

const ownName = () => $('own-name').value.trim()

function rename() {
  try {
    localStorage.setItem('demo:name', ownName())
  } catch {
    // Then it is typed again.
  }
  for (const { room } of views.values()) room.setData(ownName())
  show()
}

// --- what survives a reload

function remember() {
  const rooms = [...views.values()].map(({ room, passphrase }) => ({ name: room.name, passphrase }))
  try {
    sessionStorage.setItem('demo:rooms', JSON.stringify(rooms))
  } catch {
    // Then they are joined again by hand.
  }
}

function remembered() {
  const wanted = query.getAll('room').map((name) => ({ name }))
  try {
    wanted.push(...JSON.parse(sessionStorage.getItem('demo:rooms') ?? '[]'))
  } catch {
    // Nothing is remembered.
  }
  return wanted
}

// --- the page

const people = (count) => (count === 1 ? 'one member' : `${count} members`)
const short = (peerId) => `${peerId.slice(8, 12)}…${peerId.slice(-4)}`
const size = (bytes) => (bytes >= MIB ? `${(bytes / MIB).toFixed(1)} MiB` : `${Math.max(1, Math.round(bytes / 1024))} KiB`)

function hue(peerId) {
  let sum = 0
  for (const letter of peerId.slice(8)) sum = (sum * 31 + letter.charCodeAt(0)) % 360
  return sum
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

function face(peerId) {
  const made = element('span', { className: 'face', textContent: peerId.slice(-2), title: peerId })
  made.style.setProperty('--hue', hue(peerId))
  return made
}

function put(view, entry) {
  view.log.push(entry)
  if (view.log.length > MESSAGES_SHOWN) forget(view.log.shift())
  if (view !== current || document.body.dataset.view !== 'room') view.unread += entry.note ? 0 : 1
  showSoon()
}

function forget(entry) {
  if (entry.file) URL.revokeObjectURL(entry.file.url)
}

function note(view, text) {
  put(view, { note: text })
}

function select(view) {
  current = view
  view.unread = 0
  go('room')
  show()
  $('text').focus({ preventScroll: true })
}

function go(view) {
  document.body.dataset.view = view
  if (view === 'room' && current) current.unread = 0
  for (const button of document.querySelectorAll('nav button')) {
    button.setAttribute('aria-current', String(button.dataset.go === view))
  }
}

let pending
function showSoon() {
  pending ??= setTimeout(() => {
    pending = undefined
    show()
  }, 30)
}

function show() {
  const state = net?.state ?? 'closed'
  $('state').dataset.state = state
  $('state').textContent = { closed: 'not connected', connecting: 'connecting', connected: 'connected', offline: 'offline' }[state]
  $('toggle').textContent = net ? 'Disconnect' : 'Connect'
  $('me').hidden = !net
  if (net) $('me').replaceChildren(face(net.peerId), short(net.peerId))
  const links = net?.links() ?? []
  showRooms()
  showRoom()
  showMembers(links)
  showNetwork(links)
}

function showRooms() {
  $('no-rooms').hidden = views.size > 0
  const items = [...views.values()].map((view) => {
    const { room } = view
    const button = element('button', { type: 'button', onclick: () => select(view) }, element('span', { className: 'name', textContent: room.name }))
    if (room.primary) button.append(element('span', { className: 'hint', textContent: 'primary' }))
    button.append(element('span', { className: 'count', textContent: room.alone ? 'alone' : `${room.members.length + 1}` }))
    if (view.unread) button.append(element('span', { className: 'badge', textContent: view.unread }))
    button.setAttribute('aria-current', String(view === current))
    return element('li', {}, button)
  })
  $('room-list').replaceChildren(...items)
}

function showRoom() {
  const room = current?.room
  $('room-head').hidden = $('say').hidden = !room
  $('empty').hidden = Boolean(room)
  document.title = room ? `${room.name} · unamed` : 'unamed'
  if (!room) return $('messages').replaceChildren()
  $('room-title').textContent = room.name
  $('room-sub').textContent = room.alone ? 'nobody else is here' : people(room.members.length + 1)
  $('primary').disabled = room.primary
  $('primary').textContent = room.primary ? 'Primary' : 'Make primary'
  showRecipients(room)
  const list = $('messages')
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80
  list.replaceChildren(...current.log.map(bubble))
  if (atEnd) list.scrollTop = list.scrollHeight
}

function showRecipients(room) {
  const to = $('to')
  const chosen = to.value
  const options = room.members.map((peerId) => element('option', { value: peerId, textContent: who(current, peerId) }))
  to.replaceChildren(element('option', { value: '', textContent: 'everyone' }), ...options)
  to.value = room.members.includes(chosen) ? chosen : ''
}

/** The element of an entry; one that has not changed keeps its own. */
function bubble(entry) {
  const state = `${entry.text}|${entry.progress}|${entry.failed}|${Boolean(entry.file)}`
  if (entry.element && entry.state === state) return entry.element
  entry.state = state
  entry.element = makeBubble(entry)
  return entry.element
}

function makeBubble(entry) {
  if (entry.note) return element('li', { className: 'note', textContent: entry.note })
  const inner = element('div', { className: 'bubble' })
  if (entry.file?.image) inner.append(element('img', { src: entry.file.url, alt: entry.file.name }))
  else if (entry.file) {
    const link = element('a', { href: entry.file.url, download: entry.file.name, textContent: entry.file.name })
    inner.append(element('p', {}, link, ` · ${size(entry.file.bytes)}`))
  }
  if (entry.text) inner.append(element('p', { textContent: entry.text }))
  if (entry.progress !== undefined) inner.append(element('progress', { max: 1, value: entry.progress }))
  const time = new Date(entry.at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  const who = entry.mine ? (entry.to ? `to ${entry.to}` : 'to everyone') : entry.who + (entry.private ? ' to you alone' : '')
  inner.append(element('span', { className: 'meta', textContent: entry.failed ? `not sent: ${entry.failed}` : `${who} · ${time}` }))
  const item = element('li', { className: entry.mine ? 'mine' : '' })
  if (!entry.mine) item.append(face(entry.from))
  item.append(inner)
  return item
}

function how(link) {
  if (!link) return element('span', { className: 'how', textContent: 'linking' })
  const made = element('span', { className: 'how' }, element('b', { textContent: link.carrier }))
  made.dataset.carrier = link.carrier
  if (link.rttMs !== null) made.append(` ${link.rttMs < 10 ? link.rttMs.toFixed(1) : link.rttMs.toFixed(0)} ms`)
  return made
}

function showMembers(links) {
  const members = current?.room.members ?? []
  const items = members.map((peerId) => {
    const link = links.find((link) => link.peerId === peerId)
    const name = element('span', { className: 'name', textContent: who(current, peerId), title: peerId })
    return element('li', {}, face(peerId), name, how(link))
  })
  if (net && current) {
    const you = element('span', { className: 'name', textContent: `${called(clean(ownName()), net.peerId)} (you)`, title: net.peerId })
    items.unshift(element('li', {}, face(net.peerId), you))
  }
  if (items.length === 0) items.push(element('li', { className: 'hint', textContent: 'no room is open' }))
  $('members').replaceChildren(...items)
}

function showNetwork(links) {
  const rooms = [...views.values()].map(({ room }) => room)
  const place = net?.routing()
  picture($('picture'), { location: net && place?.location, links, rooms, current: current?.room, route, hue })
  const items = links.map((link) => {
    const name = element('span', { className: 'name', textContent: short(link.peerId), title: `${link.peerId}: ${link.reasons.join(', ')}` })
    const kind = element('span', { className: 'hint', textContent: link.service ? 'service' : 'member' })
    return element('li', {}, name, kind, how(link))
  })
  if (items.length === 0) items.push(element('li', { className: 'hint', textContent: 'none' }))
  $('links').replaceChildren(...items)
}

function toast(text) {
  const made = element('div', { className: 'toast', textContent: text })
  $('toasts').append(made)
  setTimeout(() => made.remove(), 6000)
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text)
    toast(`${what} copied`)
  } catch {
    toast(text)
  }
}

// --- what people do

const failing = (act) => (event) => {
  event?.preventDefault?.()
  Promise.resolve(act(event)).catch((error) => toast(error.message))
}

$('toggle').onclick = failing(() => (net ? stop() : start()))
$('me').onclick = () => copy(net.peerId, 'peer id')
$('join').onsubmit = failing(() => {
  const name = $('room-name').value.trim()
  $('room-name').value = ''
  return enter(name, $('passphrase').value)
})
for (const button of document.querySelectorAll('[data-join]')) {
  button.onclick = failing(() => enter(button.dataset.join))
}
$('own-name').onchange = failing(rename)
$('own-name').onkeydown = (event) => {
  if (event.key !== 'Enter') return
  // Takes the name, and does not join a room.
  event.preventDefault()
  $('own-name').blur()
}
$('share').onclick = () => {
  const url = new URL(location.href)
  url.searchParams.set('room', current.room.name)
  copy(url.href, 'link')
}
$('primary').onclick = failing(() => current.room.makePrimary())
$('leave').onclick = failing(async () => {
  const view = current
  views.delete(view.room.id)
  view.log.forEach(forget)
  current = views.values().next().value
  remember()
  show()
  await view.room.leave()
})
$('say').onsubmit = failing(() => {
  const text = $('text').value
  if (!text.trim()) return undefined
  $('text').value = ''
  grow()
  return send(text, { text })
})
$('text').onkeydown = (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault()
    $('say').requestSubmit()
  }
}
const grow = () => {
  $('text').style.height = 'auto'
  $('text').style.height = `${$('text').scrollHeight + 2}px`
}
$('text').oninput = grow
$('file').onchange = failing(async () => {
  const [file] = $('file').files
  if (!file) return
  const bytes = new Uint8Array(await file.arrayBuffer())
  $('file').value = ''
  await send(bytes, blob(new Blob([bytes], { type: imageType(bytes) }), file.name))
})
$('large').onclick = failing(() => {
  const bytes = new Uint8Array(5 * MIB)
  for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536))
  return send(bytes, blob(new Blob([bytes]), 'random.bin'))
})
$('find').onsubmit = failing(() => net && seek($('find-name').value.trim(), ''))
for (const button of document.querySelectorAll('nav button')) {
  button.onclick = () => {
    go(button.dataset.go)
    show()
  }
}

async function main() {
  // Before anything is waited for: nobody's typing is overwritten.
  try {
    $('own-name').value = localStorage.getItem('demo:name') ?? ''
  } catch {
    // Nothing is remembered.
  }
  config = await fetch('config.json')
    .then((response) => (response.ok ? response.json() : {}))
    .catch(() => ({}))
  const bootstrap = query.getAll('bootstrap')
  $('bootstrap').value = (bootstrap.length > 0 ? bootstrap : (config.bootstrap ?? [])).join('\n')
  go(remembered().length > 0 ? 'room' : 'rooms')
  show()
  setInterval(show, 1000)
  if ($('bootstrap').value) await start()
}

main().catch((error) => toast(error.message))
