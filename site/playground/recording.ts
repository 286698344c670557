/**
 * What happened in a run, as arrays that can be posted from a worker and drawn while they grow.
 */

/** How an attempt ended; `running` if it has not. A refused attempt was answered with 429. */
export type Outcome = "running" | "done" | "failed" | "refused" | "cancelled"

export interface Attempt {
  readonly task: number
  /** Milliseconds since the run began. */
  readonly from: number
  /** `Infinity` while it is running. */
  to: number
  outcome: Outcome
}

export interface Recording {
  /** When each task began to wait for its start, by index. */
  readonly waitsFrom: Array<number>
  /** In the order of their starts. */
  readonly attempts: Array<Attempt>
  /** When results were read, and of which tasks. */
  readonly reads: Array<{ readonly task: number; readonly at: number }>
  /** When the call had ended; `Infinity` until then. Tasks may run longer, where nothing cancels them. */
  calledUntil: number
  /** When nothing ran any more; `Infinity` until then. */
  end: number
  /** What the call rejected with. */
  failure: string | undefined
}

export const emptyRecording = (): Recording => ({
  waitsFrom: [],
  attempts: [],
  reads: [],
  calledUntil: Infinity,
  end: Infinity,
  failure: undefined
})

/** Writes a recording. */
export class Recorder {
  readonly recording = emptyRecording()
  running = 0
  private readonly now: () => number

  /** `now` gives the milliseconds since the run began. */
  constructor(now: () => number) {
    this.now = now
  }

  waits(task: number): void {
    this.recording.waitsFrom[task] = this.now()
  }

  /** Returns what to call at the end of the attempt. */
  starts(task: number): (outcome: Outcome) => void {
    const attempt: Attempt = { task, from: this.now(), to: Infinity, outcome: "running" }
    this.recording.attempts.push(attempt)
    this.running++
    return (outcome) => {
      attempt.to = this.now()
      attempt.outcome = outcome
      this.running--
    }
  }

  reads(task: number): void {
    this.recording.reads.push({ task, at: this.now() })
  }

  callEnds(failure: string | undefined): void {
    this.recording.calledUntil = this.now()
    this.recording.failure = failure
  }

  ends(): Recording {
    // The last thing that happened, and not the timers that were left.
    const { attempts, calledUntil, reads } = this.recording
    const ends = attempts.map(({ to }) => (to === Infinity ? this.now() : to))
    this.recording.end = ends.reduce((last, to) => Math.max(last, to), Math.max(calledUntil, reads.at(-1)?.at ?? 0))
    return this.recording
  }
}
