// Errors with a stable code.

/** What failed; `code` is stable, `message` is for people. */
export class UnamedError extends Error {
  constructor(code, message, options) {
    super(message, options)
    this.name = 'UnamedError'
    this.code = code
  }

  /** `error` as one of ours: what the engine throws has a code, anything else gets `fallback`. */
  static of(error, fallback = 'internal') {
    if (error instanceof UnamedError) return error
    const code = typeof error?.code === 'string' ? error.code : fallback
    return new UnamedError(code, String(error?.message ?? error), { cause: error })
  }
}

/** Calls the engine; its errors become ours. */
export function guarded(call) {
  try {
    return call()
  } catch (error) {
    throw UnamedError.of(error)
  }
}
