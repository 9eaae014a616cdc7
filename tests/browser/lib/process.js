// The program `unamed` as real processes, and waiting for what it says.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const PROGRAM = process.env.UNAMED_BIN ?? new URL('../../../target/debug/unamed', import.meta.url).pathname

/** A running program that writes one JSON event a line. */
export class Program {
  #events = []
  #waiters = new Set()
  #stderr = ''

  constructor(name, args, program = PROGRAM) {
    this.name = name
    this.child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.child.stderr.on('data', (data) => {
      this.#stderr += data
    })
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.#events.push(JSON.parse(line))
      for (const look of this.#waiters) look()
    })
    this.ended = new Promise((resolve) => this.child.once('exit', resolve))
  }

  get events() {
    return this.#events
  }

  /** The first event that matches, among those that came and those to come. */
  wait(what, matches, ms = 30_000) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const event = this.#events.find(matches)
        if (event === undefined) return
        done()
        resolve(event)
      }
      const late = setTimeout(() => {
        done()
        const all = this.#events.map((event) => JSON.stringify(event)).join('\n')
        reject(new Error(`${this.name}: no ${what} within ${ms} ms; it said:\n${all}\n${this.#stderr}`))
      }, ms)
      const done = () => {
        clearTimeout(late)
        this.#waiters.delete(look)
      }
      this.#waiters.add(look)
      look()
    })
  }

  say(line) {
    this.child.stdin.write(`${line}\n`)
  }

  async kill(signal = 'SIGKILL') {
    this.child.kill(signal)
    await this.ended
  }
}

/** A service node; `web: true` serves the page too. */
export class Service extends Program {
  static async start({ name = 'service', listen = '127.0.0.1:0', bootstrap = [], web = false, state, extra = [] } = {}) {
    const args = ['serve', '--listen', listen]
    for (const address of bootstrap) args.push('--bootstrap', address)
    if (web) args.push('--web', web === true ? '127.0.0.1:0' : web)
    // Scripts that were changed since the program was built.
    if (web && process.env.UNAMED_TEST_PAGES) args.push('--web-root', process.env.UNAMED_TEST_PAGES)
    if (state) args.push('--state', state)
    const service = new Service(name, [...args, ...extra, '--json'])
    const listening = await service.wait('address', (event) => event.event === 'listening')
    service.address = listening.addresses[0]
    service.peerId = listening.peer_id
    service.web = listening.web
    return service
  }

  /** The address to listen on again. */
  get listen() {
    return `127.0.0.1:${this.address.match(/tcp\/(\d+)/)[1]}`
  }
}

/** A native member of a room. */
export class Member extends Program {
  static async start({ name = 'native', room, bootstrap, extra = [] }) {
    const args = ['room', room, '--stay', ...bootstrap.flatMap((address) => ['--bootstrap', address]), ...extra]
    const member = new Member(name, [...args, '--json'])
    member.joined = await member.wait('join', (event) => event.event === 'joined')
    return member
  }

  /** Peers that were seen, in the order of their coming. */
  get seen() {
    const came = this.events.filter((event) => event.event === 'member_joined').map((event) => event.peer_id)
    return [...this.joined.members, ...came]
  }

  messages(from) {
    return this.events.filter((event) => event.event === 'message' && event.from === from)
  }
}
