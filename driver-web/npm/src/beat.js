// A beat for hidden pages. Browsers let timers of a hidden page fire once a minute; those of a worker they leave alone.

const SCRIPT = 'setInterval(() => postMessage(0), 1000)'

/** Calls `wake` once a second while the page is hidden. Returns a function that ends it. */
export function beatWhileHidden(wake) {
  if (typeof document === 'undefined') return () => {}
  let worker
  const stop = () => {
    worker?.terminate()
    worker = undefined
  }
  const look = () => {
    if (!document.hidden) return stop()
    if (worker) return
    try {
      const url = URL.createObjectURL(new Blob([SCRIPT], { type: 'text/javascript' }))
      worker = new Worker(url)
      URL.revokeObjectURL(url)
      worker.onmessage = wake
      // A policy of the page forbids it: then its own timers must do.
      worker.onerror = stop
    } catch {
      worker = undefined
    }
  }
  document.addEventListener('visibilitychange', look)
  look()
  return () => {
    document.removeEventListener('visibilitychange', look)
    stop()
  }
}
