/**
 * How far a run has come, told now and then.
 *
 * By a timer and not by what happens: a task costs nothing more for being reported, and a run that stands still is seen
 * to stand still.
 */
import type { Progress } from "../Progress.ts"
import { after } from "./host.ts"
import type { Counts, Run } from "./run.ts"

type Report = (progress: Counts & Pick<Progress, "total" | "elapsed" | "rate">) => void

/** Has a run that is about to begin reported on until it ends, then once more. A throw of `report` goes to `onThrow`. */
export const reportOn = (
  run: Run<any, any, any>,
  items: unknown,
  report: Report,
  onThrow: (error: unknown) => void
): void => {
  run.reporter = new Reporter(run, sizeOf(items), report, onThrow)
}

/** Between two reports, in milliseconds. */
const interval = 100

class Reporter {
  private readonly run: Run<any, any, any>
  private readonly total: number | undefined
  private readonly report: Report
  private readonly onThrow: (error: unknown) => void
  private readonly began: bigint
  private disarm: (() => void) | undefined

  constructor(run: Run<any, any, any>, total: number | undefined, report: Report, onThrow: (error: unknown) => void) {
    this.run = run
    this.total = total
    this.report = report
    this.onThrow = onThrow
    this.began = this.now()
    this.arm()
  }

  /** Tells how it has ended, and no more. */
  end(): void {
    this.disarm?.()
    this.disarm = undefined
    this.tell()
  }

  private arm(): void {
    this.disarm = after(this.run.host, interval, () => {
      this.arm()
      this.tell()
    })
  }

  private tell(): void {
    const counts = this.run.counts(this.total)
    const elapsed = Number(this.now() - this.began) / 1_000_000
    const rate = elapsed === 0 ? 0 : ((counts.succeeded + counts.failed) * 1000) / elapsed
    try {
      this.report({ ...counts, total: this.total, elapsed, rate })
    } catch (error) {
      this.onThrow(error)
    }
  }

  private now(): bigint {
    return this.run.host.clock.monotonicTimeNanosUnsafe()
  }
}

/** How many items there are, where that is known beforehand. */
const sizeOf = (items: unknown): number | undefined => {
  // Its length is not the number of the characters that it is iterated by.
  if (typeof items === "string") return undefined
  const { length, size } = items as { readonly length?: unknown; readonly size?: unknown }
  return [length, size].find((count) => typeof count === "number")
}
