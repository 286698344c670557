/**
 * Both hosts of the engine give the same schedule: the same random programs, by core under Effect's `TestClock` and by the
 * facade under faked timers, have the same starts, at the same instants, and the same results.
 */
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import * as core from "fibermeter"
import { describe, expect, it } from "vitest"
import { runAll } from "../src/index.ts"
import { now, settle, useVirtualTime } from "./support.ts"

interface Program {
  readonly durations: ReadonlyArray<number>
  /** The index of a task that fails, if there is such a task. */
  readonly fails: number
  readonly limits: {
    readonly maxAtOnce?: number
    readonly maxPerSecond?: number
    readonly windows?: { readonly requests: { readonly limit: number; readonly per: number } }
  }
}

interface Seen {
  readonly starts: Array<readonly [index: number, at: number]>
  result?: unknown
  at?: number
}

const message = (error: unknown): unknown => ({ failed: (error as Error).message })

const byCore = ({ durations, fails, limits }: Program): Promise<Seen> => {
  const seen: Seen = { starts: [] }
  const task = (millis: number, index: number) =>
    Effect.gen(function* () {
      seen.starts.push([index, yield* Clock.currentTimeMillis])
      yield* Effect.sleep(millis)
      return index === fails ? yield* Effect.fail(new Error(`task ${index}`)) : index
    })
  const program = Effect.gen(function* () {
    const fiber = yield* core.runAll(durations, task, limits).pipe(
      Effect.match({ onFailure: message, onSuccess: (results): unknown => results }),
      Effect.tap((result) =>
        Effect.map(Clock.currentTimeMillis, (at) => {
          seen.result = result
          seen.at = at
        })
      ),
      Effect.forkChild
    )
    yield* TestClock.adjust("1 hour")
    yield* Fiber.join(fiber)
    return seen
  })
  return Effect.runPromise(Effect.provide(program, TestClock.layer()))
}

const byFacade = async ({ durations, fails, limits }: Program): Promise<Seen> => {
  const began = now()
  const seen: Seen = { starts: [] }
  const task = async (millis: number, { index }: { readonly index: number }): Promise<number> => {
    seen.starts.push([index, now() - began])
    await new Promise<void>((resolve) => void setTimeout(resolve, millis))
    if (index === fails) throw new Error(`task ${index}`)
    return index
  }
  const { at } = await settle(
    runAll(durations, task, limits).then(
      (results) => (seen.result = results),
      (error: unknown) => (seen.result = message(error))
    )
  )
  return { ...seen, at: at - began }
}

const limits: fc.Arbitrary<Program["limits"]> = fc.record(
  {
    maxAtOnce: fc.integer({ min: 1, max: 4 }),
    // Their intervals are whole milliseconds, as the faked timers are.
    maxPerSecond: fc.constantFrom(5, 10, 20, 50),
    windows: fc.record({
      requests: fc.record({ limit: fc.integer({ min: 1, max: 4 }), per: fc.integer({ min: 1, max: 300 }) })
    })
  },
  { requiredKeys: [] }
)

const programs: fc.Arbitrary<Program> = fc.record({
  durations: fc.array(fc.integer({ min: 1, max: 250 }), { minLength: 1, maxLength: 12 }),
  fails: fc.integer({ min: -8, max: 11 }),
  limits
})

describe("the same programs on both hosts", () => {
  useVirtualTime()

  it("start the same tasks at the same instants, with the same results", async () => {
    let starts = 0
    await fc.assert(
      fc.asyncProperty(programs, async (program) => {
        const expected = await byCore(program)
        expect(await byFacade(program)).toEqual(expected)
        starts += expected.starts.length
      }),
      { seed: 20261127, numRuns: 200 }
    )
    expect(starts).toBeGreaterThan(600)
  })
})
