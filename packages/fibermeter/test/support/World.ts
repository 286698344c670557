/**
 * A small world of its own for one run: a scheduler whose steps are taken one at a time, a clock that moves only when
 * there is nothing left to do, and counters for all of it.
 *
 * TestClock shows exact instants; this shows what TestClock hides: each single step (to interrupt there), the timers that
 * are armed, the fibers that live, how often the clock is read, and timers that fire late or early.
 */
import { Clock, Context, Duration, Effect, Exit, type Fiber, Metric, Scheduler } from "effect"

interface Timer {
  /** When the sleep is over. */
  readonly due: bigint
  /** When the timer fires: not always the same. */
  readonly fires: bigint
  readonly wake: () => void
}

export interface WorldOptions {
  /**
   * Hands control back after every few operations of a fiber, or after so many, so that there are many more steps to
   * interrupt at.
   */
  readonly fine?: boolean | number
  /** What the monotonic clock says at first. */
  readonly origin?: bigint
  /** When a timer fires that was armed now and is due then. Punctual unless given. */
  readonly fires?: (due: bigint, now: bigint) => bigint
  /** Nanoseconds that each scheduler step takes. */
  readonly stepCost?: bigint
  /** Nanoseconds that pass from one reading of the clock to the next. */
  readonly lookCost?: () => bigint
  /** The event loop is blocked for `lasts` nanoseconds at every multiple of `every`. */
  readonly stalls?: { readonly every: bigint; readonly lasts: bigint }
}

export class World {
  steps = 0
  timersArmed = 0
  mostTimers = 0
  clockReads = 0
  fibersBegun = 0
  fibersLive = 0
  readonly clock: Clock.Clock
  readonly context: Context.Context<never>
  private readonly origin: bigint
  private readonly options: WorldOptions
  private time: bigint
  private timers: Array<Timer> = []
  private batch: Array<() => void> = []
  private next: Array<{ readonly task: () => void; readonly priority: number }> = []

  constructor(options: WorldOptions = {}) {
    this.options = options
    this.origin = options.origin ?? 123_456_789_012_345n
    this.time = this.origin
    const read = () => {
      this.clockReads++
      return (this.time += options.lookCost?.() ?? 0n)
    }
    // A wall clock that jumps: code that measures with it fails the tests.
    const wall = () => (this.clockReads % 2 === 0 ? -1_000_000_000_000_000n : 1_000_000_000_000_000n)
    this.clock = {
      currentTimeMillisUnsafe: () => Number(wall() / 1_000_000n),
      currentTimeMillis: Effect.sync(() => Number(wall() / 1_000_000n)),
      currentTimeNanosUnsafe: wall,
      currentTimeNanos: Effect.sync(wall),
      monotonicTimeNanosUnsafe: read,
      monotonicTimeNanos: Effect.sync(read),
      sleep: (duration) => this.sleep(duration)
    }
    const mostOps = typeof options.fine === "number" ? options.fine : options.fine === true ? 3 : 2048
    const scheduler: Scheduler.Scheduler = {
      executionMode: "async",
      // Below three operations a fiber would do nothing but yield.
      shouldYield: (fiber) => fiber.currentOpCount >= mostOps,
      makeDispatcher: () => ({
        scheduleTask: (task, priority) => {
          this.next.push({ task, priority })
        },
        flush: () => {
          while (this.step()) continue
        }
      })
    }
    this.context = Context.empty().pipe(
      Context.add(Clock.Clock, this.clock),
      Context.add(Scheduler.Scheduler, scheduler),
      Context.add(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => {
          this.fibersBegun++
          this.fibersLive++
        },
        recordFiberEnd: () => {
          this.fibersLive--
        }
      })
    )
  }

  /** Nanoseconds since the world began. */
  get now(): bigint {
    return this.time - this.origin
  }

  /** Lets time pass within a step, as code does that keeps the event loop busy. */
  pass(nanos: bigint): void {
    this.time += nanos
  }

  /** Timers that are armed now. */
  get timersLeft(): number {
    return this.timers.length
  }

  /** Steps that wait to be taken. */
  get stepsLeft(): number {
    return this.batch.length + this.next.length
  }

  /** Starts an effect; it takes no step before `finish`. */
  start<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.context)(Effect.andThen(Effect.yieldNow, effect))
  }

  /** Steps on until the fiber has ended and nothing is left to do; after each step `onStep` is called with its number. */
  async finish<A, E>(fiber: Fiber.Fiber<A, E>, onStep?: (step: number) => void): Promise<Exit.Exit<A, E>> {
    for (;;) {
      while (this.step()) onStep?.(this.steps)
      // Promises and timers of the real event loop, if any are used, run before time advances.
      await new Promise((resolve) => setImmediate(resolve))
      if (this.stepsLeft > 0) continue
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      if (!this.tick()) throw new Error(`stuck after ${this.steps} steps: nothing to do, no timer armed, and no end`)
      this.steps++
      onStep?.(this.steps)
    }
  }

  run<A, E>(effect: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> {
    return this.finish(this.start(effect))
  }

  /** Runs a later effect in the same world and gives its value. */
  async value<A, E>(effect: Effect.Effect<A, E>): Promise<A> {
    return Exit.match(await this.run(effect), {
      onSuccess: (value) => value,
      onFailure: (cause) => {
        throw new Error("it failed", { cause })
      }
    })
  }

  private step(): boolean {
    if (this.batch.length === 0) {
      // As the default scheduler does: a batch by priority, what it schedules comes in the next one.
      this.batch = this.next.sort((a, b) => a.priority - b.priority).map(({ task }) => task)
      this.batch.reverse()
      this.next = []
    }
    const task = this.batch.pop()
    if (task === undefined) return false
    this.steps++
    this.time += this.options.stepCost ?? 0n
    task()
    return true
  }

  /** Moves the clock to the next timer and fires it. */
  private tick(): boolean {
    const timer = this.timers.reduce<Timer | undefined>(
      (first, timer) => (first === undefined || timer.fires < first.fires ? timer : first),
      undefined
    )
    if (timer === undefined) return false
    this.moveTo(timer.fires)
    timer.wake()
    return true
  }

  private moveTo(instant: bigint): void {
    if (instant <= this.time) return
    const { stalls } = this.options
    const stallsUntil = (time: bigint) => (stalls === undefined ? 0n : (time - this.origin) / stalls.every)
    const stalled = stallsUntil(instant) > stallsUntil(this.time)
    this.time = instant
    if (stalls !== undefined && stalled) {
      // What was due while the loop stood still comes when it moves again.
      const begins = this.origin + stallsUntil(instant) * stalls.every
      const ends = begins + stalls.lasts
      if (ends > this.time) this.time = ends
    }
  }

  private sleep(duration: Duration.Duration): Effect.Effect<void> {
    const nanos = Duration.toNanos(duration)
    return Effect.callback<void>((resume) => {
      if (nanos._tag === "None") return
      const due = this.time + nanos.value
      const timer: Timer = {
        due,
        fires: this.options.fires?.(due, this.time) ?? due,
        wake: () => {
          this.drop(timer)
          resume(Effect.void)
        }
      }
      this.timers.push(timer)
      this.timersArmed++
      this.mostTimers = Math.max(this.mostTimers, this.timers.length)
      return Effect.sync(() => this.drop(timer))
    })
  }

  private drop(timer: Timer): void {
    const index = this.timers.indexOf(timer)
    if (index >= 0) this.timers.splice(index, 1)
  }
}
