/**
 * Runs one job in a thread of its own: on virtual time, which replaces all timers of the thread, or on the browser's timers,
 * with a copy of the recording ten times a second.
 */
import type { Recording } from "./recording.ts"
import type { Settings } from "./settings.ts"
import { runLive, simulate } from "./simulate.ts"
import type { Way } from "./wayNames.ts"

export interface Job {
  readonly way: Way
  readonly settings: Settings
  readonly isLive: boolean
}

export interface Report {
  readonly recording: Recording
  /** Milliseconds since the start. */
  readonly now: number
  readonly isDone: boolean
}

interface Thread {
  addEventListener: (type: "message", listener: (event: { readonly data: Job }) => void) => void
  postMessage: (report: Report) => void
}

const thread = globalThis as unknown as Thread

const report = (recording: Recording, now: number, isDone: boolean): void =>
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- workers have no origin to name
  thread.postMessage({ recording, now, isDone })

const perform = async ({ isLive, settings, way }: Job): Promise<void> => {
  if (!isLive) {
    const recording = await simulate(way, settings)
    return report(recording, recording.end, true)
  }
  const { ended, now, recording } = runLive(way, settings)
  const timer = setInterval(() => report(recording, now(), false), 100)
  const last = await ended
  // Tasks that the call has abandoned continue.
  const settle = (): void => {
    const isBusy = last.attempts.some(({ outcome }) => outcome === "running")
    if (isBusy) return void setTimeout(settle, 50)
    clearInterval(timer)
    report({ ...last, end: Math.max(last.end, ...last.attempts.map(({ to }) => to)) }, now(), true)
  }
  settle()
}

thread.addEventListener("message", ({ data }) => void perform(data))
