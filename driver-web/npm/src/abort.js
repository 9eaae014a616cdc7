// AbortSignal on promises.

/** Throws the signal's reason if it is aborted. */
export function check(signal) {
  signal?.throwIfAborted()
}

/**
 * `promise`, unless `signal` is aborted first: then its reason is thrown, and `undo` gets what the promise still gives.
 */
export function abortable(promise, signal, undo) {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    let aborted = false
    const abort = () => {
      aborted = true
      reject(signal.reason)
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    promise.then(
      (value) => {
        signal.removeEventListener('abort', abort)
        if (aborted) undo?.(value)
        else resolve(value)
      },
      (error) => {
        signal.removeEventListener('abort', abort)
        reject(error)
      },
    )
  })
}
