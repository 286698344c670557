/**
 * How far a run has come, told now and then.
 *
 * By a timer and not by what happens: a task costs nothing more for being reported, and a run that stands still is seen
 * to stand still.
 */
import { after } from "./host.ts"
import type { Counts, Run } from "./run.ts"

export interface Progress extends Counts {
  readonly total: number | undefined
  readonly elapsed: number
  readonly rate: number
}

/** Between two reports, in milliseconds. */
const interval = 100

export class Reporter {
  private readonly run: Run<any, any, any>
  private readonly total: number | undefined
  private readonly report: (progress: Progress) => void
  /** What a throw of `report` comes to. */
  private readonly onThrow: (error: unknown) => void
  private readonly began: number
  private disarm: (() => void) | undefined

  constructor(
    run: Run<any, any, any>,
    items: unknown,
    report: (progress: Progress) => void,
    onThrow: (error: unknown) => void
  ) {
    this.run = run
    this.total = sizeOf(items)
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
    const elapsed = this.now() - this.began
    const rate = elapsed === 0 ? 0 : ((counts.succeeded + counts.failed) * 1000) / elapsed
    try {
      this.report({ ...counts, total: this.total, elapsed, rate })
    } catch (error) {
      this.onThrow(error)
    }
  }

  private now(): number {
    return Number(this.run.host.clock.monotonicTimeNanosUnsafe()) / 1_000_000
  }
}

/** How many items there are, where that is known beforehand. */
const sizeOf = (items: unknown): number | undefined => {
  // Its length is not the number of the characters that it is iterated by.
  if (typeof items === "string") return undefined
  const { length, size } = items as { readonly length?: unknown; readonly size?: unknown }
  return [length, size].find((count) => typeof count === "number")
}
