// What tests share: a browser and processes that end with the test, whatever becomes of it.

import assert from 'node:assert/strict'

import { launch, Tab } from './browser.js'
import { Member, Service } from './process.js'

/** Two service nodes, of which the first serves the page, and one browser; all end with the test. */
export class Stage {
  #cleanup = []
  tabs = []
  services = []

  static async open(t, { mdns = false, services = 2, names = 'ab' } = {}) {
    const stage = new Stage()
    t.after(() => stage.close())
    for (let index = 0; index < services; index++) {
      const bootstrap = stage.services.map((service) => service.address).slice(0, 1)
      await stage.service({ name: `service ${names[index] ?? index}`, bootstrap, web: index === 0 })
    }
    stage.browser = await launch({ mdns })
    stage.#cleanup.push(() => stage.browser.close())
    stage.context = await stage.browser.newContext()
    return stage
  }

  get web() {
    return this.services[0].web
  }

  async service(options) {
    const service = await Service.start(options)
    this.services.push(service)
    this.#cleanup.push(() => service.kill())
    return service
  }

  async native(room, service, extra) {
    const member = await Member.start({ room, bootstrap: [service.address], extra })
    this.#cleanup.push(() => member.kill())
    return member
  }

  /** A connected tab. `fresh` gives it a profile of its own. */
  async tab({ name = `tab ${this.tabs.length + 1}`, service, fresh = false, init, ...options } = {}) {
    const context = fresh ? await this.browser.newContext() : this.context
    const tab = await Tab.open(context, this.web, { name, init })
    this.tabs.push(tab)
    const home = service ?? this.services[this.tabs.length % this.services.length]
    return tab.connect({ bootstrap: [home.address], ...options })
  }

  /** All tabs see each other, and these others. */
  async together(room, tabs = this.tabs, others = []) {
    const all = [...tabs.map((tab) => tab.peerId), ...others]
    await Promise.all(tabs.map((tab) => tab.untilMembers(room, all.filter((peer) => peer !== tab.peerId))))
  }

  /** No tab had an uncaught error or one in its console. */
  quiet(tabs = this.tabs) {
    for (const tab of tabs) assert.deepEqual(tab.faults, [], `${tab.name} complains`)
  }

  async close() {
    for (const act of this.#cleanup.splice(0).reverse()) await act().catch(() => {})
  }
}
