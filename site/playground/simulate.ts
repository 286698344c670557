/**
 * Runs the tasks of some settings in one of the ways and records what happens: on virtual time, which takes as long as the
 * code takes, or on the timers that are there.
 */
import { Recorder } from "./recording.ts"
import type { Recording } from "./recording.ts"
import { makeRequest } from "./request.ts"
import type { Settings } from "./settings.ts"
import { installVirtualTime } from "./virtualTime.ts"
import { runBy } from "./ways.ts"
import type { Way } from "./wayNames.ts"

/** A run that has not ended after a week of virtual time is cut off there: something waits for ever. */
const longest = 7 * 24 * 3_600_000

const describe = (error: unknown): string =>
  error instanceof AggregateError
    ? `${error.errors.length} failures`
    : error instanceof Error
      ? error.message
      : String(error)

const start = async (way: Way, settings: Settings, recorder: Recorder): Promise<void> => {
  try {
    await runBy(way, settings, makeRequest(settings, recorder), recorder)
    recorder.callEnds(undefined)
  } catch (error) {
    recorder.callEnds(describe(error))
  }
}

/** The whole run at once. Nothing else may use timers meanwhile. */
export const simulate = async (way: Way, settings: Settings): Promise<Recording> => {
  const time = installVirtualTime()
  try {
    const recorder = new Recorder(time.now)
    void start(way, settings, recorder)
    const { recording } = recorder
    for (;;) {
      const wasBusy = recorder.running > 0 || recording.calledUntil === Infinity
      const fired = await time.step()
      if (!fired || time.now() > longest) break
      // A call that is over may have left tasks that run and others that wait; timers of intervals never end.
      const isLeft = recorder.running > 0 || recording.calledUntil === Infinity || wasBusy || waits(recording)
      if (!isLeft) break
    }
    return recorder.ends()
  } finally {
    time.uninstall()
  }
}

/** Whether a library that has not been told to stop may still start tasks. */
const waits = ({ attempts, waitsFrom }: Recording): boolean =>
  new Set(attempts.map(({ task }) => task)).size < waitsFrom.length

/** The same on the timers of now. `recording` grows as time passes. */
export const runLive = (
  way: Way,
  settings: Settings
): { readonly recording: Recording; readonly now: () => number; readonly ended: Promise<Recording> } => {
  const begun = performance.now()
  const now = (): number => performance.now() - begun
  const recorder = new Recorder(now)
  return {
    recording: recorder.recording,
    now,
    ended: start(way, settings, recorder).then(() => recorder.ends())
  }
}
