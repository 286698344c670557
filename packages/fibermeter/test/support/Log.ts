/**
 * A test as a table of instants: what is done when, and what was seen to start when. All in a `World`, so that nothing
 * but what is written there takes time.
 */
import { Cause, Effect, Exit } from "effect"
import { expect } from "vitest"
import { World, type WorldOptions } from "./World.ts"

export class Log {
  readonly world: World
  /** What started, and its instant in milliseconds: `"a 250"`. */
  readonly starts: Array<string> = []
  /** How each named effect ended, and its instant. */
  readonly ends: Array<string> = []
  readonly exits = new Map<string, Exit.Exit<unknown, unknown>>()
  running = 0
  peak = 0

  constructor(options: WorldOptions = {}) {
    this.world = new World(options)
  }

  get now(): number {
    return Number(this.world.now) / 1_000_000
  }

  /** An effect that is seen to start, lasts so many milliseconds, and gives its name. */
  task(name: string, millis = 0): Effect.Effect<string> {
    return this.around(name, Effect.as(millis === 0 ? Effect.void : Effect.sleep(millis), name))
  }

  /** The same with a body of its own. */
  around<A, E, R>(name: string, body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      this.starts.push(`${name} ${this.now}`)
      this.running++
      this.peak = Math.max(this.peak, this.running)
      return Effect.ensuring(
        body,
        Effect.sync(() => {
          this.running--
        })
      )
    })
  }

  /** Notes how and when an effect ends, and does not fail itself. */
  named<A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> {
    return Effect.map(Effect.exit(effect), (exit) => {
      this.ends.push(`${name} ${this.now}`)
      this.exits.set(name, exit)
    })
  }

  exit(name: string): Exit.Exit<unknown, unknown> | undefined {
    return this.exits.get(name)
  }

  /** Does each thing at its millisecond, those of the same one in the order written, and waits for all. */
  async play(...plan: ReadonlyArray<readonly [at: number, effect: Effect.Effect<unknown, unknown>]>): Promise<void> {
    const began = plan.map(([at, effect]) => Effect.andThen(Effect.sleep(at), effect))
    await this.world.value(Effect.all(began, { concurrency: "unbounded", discard: true }))
    expect(this.running, "tasks that run").toBe(0)
  }

  /** Whether nothing is left of all that was started. */
  expectRest(): void {
    expect(this.world.fibersLive, "fibers left").toBe(0)
    expect(this.world.timersLeft, "timers left").toBe(0)
    expect(this.world.stepsLeft, "steps left").toBe(0)
  }
}

/** The defect that an exit died of. */
export const defectOf = (exit: Exit.Exit<unknown, unknown> | undefined): unknown => {
  if (exit === undefined || Exit.isSuccess(exit)) return undefined
  return exit.cause.reasons.find(Cause.isDieReason)?.defect
}

/** The typed error that an exit failed with. */
export const errorOf = (exit: Exit.Exit<unknown, unknown> | undefined): unknown => {
  if (exit === undefined || Exit.isSuccess(exit)) return undefined
  return exit.cause.reasons.find(Cause.isFailReason)?.error
}

/** 0, 1, … n - 1, as names of tasks. */
export const names = (n: number, prefix = "t"): Array<string> =>
  Array.from({ length: n }, (_, index) => `${prefix}${index}`)
