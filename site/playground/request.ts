/**
 * What each task does: a request to a server, which takes the time that the seed gives, may fail, and is answered with 429
 * where the server has limits of its own and is asked too much.
 */
import { durationOf, fails } from "./random.ts"
import type { Recorder } from "./recording.ts"
import type { Settings } from "./settings.ts"

/** How long the server takes to refuse, in milliseconds. */
export const refusalTakes = 20

/** The `Retry-After` of a refusal, in seconds. */
export const retryAfterSeconds = 1

/** An error as an HTTP client throws it, with what the response says. */
class HttpError extends Error {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, headers: Readonly<Record<string, string>>) {
    super(`HTTP ${status}`)
    this.status = status
    this.headers = headers
  }
}

export const sleep = (millis: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason as Error)
    const abort = (): void => {
      clearTimeout(timer)
      reject(signal!.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort)
      resolve()
    }, millis)
    signal?.addEventListener("abort", abort, { once: true })
  })

export type Request = (task: number, signal?: AbortSignal) => Promise<number>

export const makeRequest = (settings: Settings, recorder: Recorder): Request => {
  const { serverAtOnce, serverPerSecond } = settings
  const attempts = new Map<number, number>()
  let running = 0
  /** When the server accepted the requests of the last second. */
  let accepted: Array<number> = []

  const isTooMuch = (): boolean => {
    const now = Date.now()
    accepted = accepted.filter((at) => at > now - 1000)
    return (serverAtOnce > 0 && running >= serverAtOnce) || (serverPerSecond > 0 && accepted.length >= serverPerSecond)
  }

  return async (task, signal) => {
    const attempt = attempts.get(task) ?? 0
    attempts.set(task, attempt + 1)
    const ends = recorder.starts(task)
    const refused = isTooMuch()
    if (!refused) {
      running++
      accepted.push(Date.now())
    }
    try {
      await sleep(refused ? refusalTakes : durationOf(settings, task, attempt), signal)
    } catch (error) {
      ends("cancelled")
      throw error
    } finally {
      if (!refused) running--
    }
    if (refused) {
      ends("refused")
      throw new HttpError(429, { "retry-after": String(retryAfterSeconds) })
    }
    if (fails(settings, task, attempt)) {
      ends("failed")
      throw new Error(`request ${task} has failed`)
    }
    ends("done")
    return task
  }
}
