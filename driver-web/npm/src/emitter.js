// Events, with listeners that cannot harm each other.

export class Emitter {
  #listeners = new Map()

  /** Calls `listener` for each event of this type from now on. Returns a function that ends it. */
  on(type, listener) {
    if (typeof listener !== 'function') throw new TypeError('a listener is a function')
    let all = this.#listeners.get(type)
    if (!all) this.#listeners.set(type, (all = new Set()))
    all.add(listener)
    return () => this.off(type, listener)
  }

  /** Like `on`, for the next event only. */
  once(type, listener) {
    const off = this.on(type, (event) => {
      off()
      listener(event)
    })
    return off
  }

  /** Ends what `on` began. */
  off(type, listener) {
    this.#listeners.get(type)?.delete(listener)
  }

  /** Whether anybody listens. */
  listened(type) {
    return (this.#listeners.get(type)?.size ?? 0) > 0
  }

  /** Tells all listeners. One that throws is reported as any uncaught error of a page, and the others are told. */
  emit(type, event) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) deliver(listener, event)
  }
}

/** Calls one listener. */
export function deliver(listener, event) {
  try {
    listener(event)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
