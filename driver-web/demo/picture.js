// The live picture: the ring of keys with this node, its rooms, the service nodes it is linked to, and the last find.

const SVG = 'http://www.w3.org/2000/svg'
const RING = 88

/** Where a key of 64 hexadecimal digits is on the ring. */
function place(key, radius = RING) {
  const angle = (parseInt(key.slice(0, 8), 16) / 2 ** 32) * 2 * Math.PI - Math.PI / 2
  return { x: radius * Math.cos(angle), y: radius * Math.sin(angle), angle }
}

function draw(parent, name, attributes, title) {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  if (title) {
    const tip = document.createElementNS(SVG, 'title')
    tip.textContent = title
    element.append(tip)
  }
  parent.append(element)
  return element
}

/** A line between two places that bends towards the middle, as far as they are apart. */
function bend(a, b) {
  const x = ((a.x + b.x) / 2) * 0.45
  const y = ((a.y + b.y) / 2) * 0.45
  return `M${a.x.toFixed(1)} ${a.y.toFixed(1)}Q${x.toFixed(1)} ${y.toFixed(1)} ${b.x.toFixed(1)} ${b.y.toFixed(1)}`
}

/** A room's name beside its place; `taken` has the places of what it must not cover: rooms, and names that stand already. */
function label(svg, at, text, colour, taken) {
  const anchor = Math.abs(at.x) < 20 ? 'middle' : at.x > 0 ? 'end' : 'start'
  const below = at.y > 0
  let y = below ? at.y + 17 : at.y - 11
  while (taken.some((other) => Math.abs(other.y - y) < 9 && Math.abs(other.x - at.x) < 60)) y += below ? -26 : 26
  taken.push({ x: at.x, y })
  draw(svg, 'text', { x: Math.max(-116, Math.min(116, at.x * 1.1)), y, 'text-anchor': anchor, fill: colour }).textContent = text
}

/** Members have no place of their own that others know: they are drawn around the room that they share. */
function around(centre, index, count) {
  const spread = Math.min(0.5, 1.8 / Math.max(count, 1))
  const angle = centre.angle + (index - (count - 1) / 2) * spread
  const radius = RING - 30 - (index % 2) * 9
  return { x: radius * Math.cos(angle), y: radius * Math.sin(angle) }
}

/** Draws all of it anew. */
export function picture(svg, { location, links, rooms, current, route, hue }) {
  svg.replaceChildren()
  draw(svg, 'circle', { r: RING, fill: 'none', stroke: 'var(--line)', 'stroke-width': 5 })
  for (let tick = 0; tick < 16; tick++) {
    const key = tick.toString(16).padEnd(64, '0')
    const [a, b] = [place(key, RING - 2.5), place(key, RING + 2.5)]
    draw(svg, 'line', { x1: a.x, y1: a.y, x2: b.x, y2: b.y, stroke: 'var(--dim)', 'stroke-width': 0.6, opacity: 0.6 })
  }
  if (!location) {
    draw(svg, 'text', { y: 3, 'text-anchor': 'middle', fill: 'var(--dim)' }).textContent = 'not connected'
    return
  }
  const me = place(location)
  const services = links.filter((link) => link.service)
  const home = current ? place(current.id) : me
  const members = links.filter((link) => !link.service)
  const strokes = draw(svg, 'g', { fill: 'none' })
  for (const link of services) {
    const title = `${link.carrier} to service node ${link.peerId}`
    draw(strokes, 'path', { d: bend(me, place(link.location)), stroke: `var(--${link.carrier})`, 'stroke-width': 1.4, opacity: 0.75 }, title)
  }
  members.forEach((link, index) => {
    const at = around(home, index, members.length)
    const style = { stroke: `var(--${link.carrier})`, 'stroke-width': 1.4, 'stroke-dasharray': link.carrier === 'relayed' ? '3 3' : 'none' }
    draw(strokes, 'line', { x1: me.x, y1: me.y, x2: at.x, y2: at.y, ...style })
    draw(svg, 'circle', { cx: at.x, cy: at.y, r: 4.5, fill: `hsl(${hue(link.peerId)} 70% 55%)` }, `${link.carrier} to member ${link.peerId}`)
  })
  trace(strokes, route, me)
  for (const link of services) {
    const at = place(link.location)
    draw(svg, 'rect', { x: at.x - 4.5, y: at.y - 4.5, width: 9, height: 9, rx: 2.5, fill: 'var(--websocket)' }, `service node ${link.peerId}`)
  }
  for (const room of rooms) {
    const at = place(room.id)
    draw(svg, 'circle', { cx: at.x, cy: at.y, r: room.primary ? 7.5 : 5, fill: 'var(--panel)', stroke: 'var(--accent)', 'stroke-width': 2 }, `room ${room.name}`)
  }
  draw(svg, 'circle', { cx: me.x, cy: me.y, r: 3.6, fill: 'var(--accent)' }, 'this node')
  // Names last, over all lines.
  const taken = rooms.map((room) => place(room.id))
  for (const room of rooms) {
    const name = room.name.length > 18 ? `${room.name.slice(0, 17)}…` : room.name
    label(svg, place(room.id), name, 'var(--text)', taken)
  }
}

/** The way of the last find: dots that run along it. */
function trace(group, route, me) {
  if (!route || route.length < 2) return
  const points = route.map((hop, index) => (index === 0 ? me : place(hop.location)))
  for (let index = 1; index < points.length; index++) {
    const d = bend(points[index - 1], points[index])
    const path = draw(group, 'path', { d, stroke: 'var(--relayed)', 'stroke-width': 2.2, 'stroke-dasharray': '1 7', 'stroke-linecap': 'round' }, 'the way of the last find')
    draw(path, 'animate', { attributeName: 'stroke-dashoffset', from: 8, to: 0, dur: '0.8s', repeatCount: 'indefinite' })
  }
}
