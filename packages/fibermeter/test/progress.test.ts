/** What `onProgress` is called with, and when. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Queue, Stream } from "effect"
import { Meter, type Progress, runAny, runOnEach } from "../src/index.ts"
import { defectOf, Log, names } from "./support/Log.ts"
import { verbs } from "./support/verbs.ts"

/** Keeps the reports, each with its instant in milliseconds. */
const diary = (log: Log) => {
  const told: Array<Progress & { readonly at: number }> = []
  const onProgress = (progress: Progress): void => void told.push({ ...progress, at: log.now })
  return { told, onProgress }
}

describe("onProgress", () => {
  it("is called every 100 ms, and once at the end, with everything counted", async () => {
    const log = new Log()
    const { onProgress, told } = diary(log)
    await log.play([0, runOnEach(names(5), (name) => log.task(name, 60), { maxAtOnce: 2, onProgress })])
    expect(told.map(({ at, ...progress }) => [at, progress])).toEqual([
      [100, { started: 4, running: 2, waiting: 1, succeeded: 2, failed: 0, total: 5, elapsed: 100, rate: 20 }],
      [180, { started: 5, running: 0, waiting: 0, succeeded: 5, failed: 0, total: 5, elapsed: 180, rate: 5 / 0.18 }]
    ])
    log.expectRest()
  })

  it.each(verbs.filter(({ name }) => name !== "runAny"))("$name counts each of its tasks", async ({ run }) => {
    const log = new Log()
    const { onProgress, told } = diary(log)
    await log.play([0, run(names(3), (name) => log.task(name, 40), { maxAtOnce: 1, onProgress })])
    expect(told.map(({ at, running, succeeded, waiting }) => ({ at, running, succeeded, waiting }))).toEqual([
      { at: 100, running: 1, succeeded: 2, waiting: 0 },
      { at: 120, running: 0, succeeded: 3, waiting: 0 }
    ])
    log.expectRest()
  })

  it("counts failures that are tolerated", async () => {
    const log = new Log()
    const { onProgress, told } = diary(log)
    const last = (name: string) => (name === "t2" ? log.task(name) : Effect.fail(name))
    await log.play([0, runAny(names(3), last, { maxAtOnce: 1, onProgress })])
    expect(told).toMatchObject([{ started: 3, succeeded: 1, failed: 2, rate: 0 }])
    log.expectRest()
  })

  it.each<[string, Iterable<string>, number | undefined, number]>([
    ["an array", names(9), 9, 8],
    ["a Set", new Set(names(9)), 9, 8],
    ["a string", "abcdefghi", undefined, 1],
    ["a generator", names(9).values(), undefined, 1]
  ])("knows how many items %s has: %s %s", async (_, items, total, waiting) => {
    const log = new Log()
    const { onProgress, told } = diary(log)
    const call = runOnEach(items, (name) => log.task(name, 150), { maxAtOnce: 1, onProgress })
    await log.play([0, Effect.timeout(Effect.exit(call), 110).pipe(Effect.ignore)])
    expect(told[0]).toMatchObject({ at: 100, total, waiting, running: 1 })
    log.expectRest()
  })

  it("a failure, and an interruption, end it with a last report", async () => {
    const log = new Log()
    const { onProgress, told } = diary(log)
    const failing = (name: string) =>
      Effect.andThen(log.task(name, 30), name === "t1" ? Effect.fail("no") : Effect.void)
    await log.play([0, Effect.exit(runOnEach(names(3), failing, { maxAtOnce: 1, onProgress }))])
    expect(told).toMatchObject([{ at: 60, started: 2, succeeded: 1, failed: 1, waiting: 1 }])
    told.length = 0
    const call = Effect.forkChild(runOnEach(names(3), (name) => log.task(name, 1000), { maxAtOnce: 1, onProgress }))
    await log.play([0, Effect.flatMap(call, (fiber) => Effect.delay(Fiber.interrupt(fiber), 250))])
    expect(told.map(({ elapsed, running }) => [elapsed, running])).toEqual([
      [100, 1],
      [200, 1],
      [250, 0]
    ])
    log.expectRest()
  })

  it("shows that a paused meter starts nothing", async () => {
    const log = new Log()
    const { onProgress, told } = diary(log)
    const meter = Meter.makeUnsafe({})
    await log.play([
      0,
      Effect.andThen(
        Meter.pause(meter, 250),
        runOnEach(names(2), (name) => log.task(name), { meter, onProgress })
      )
    ])
    expect(told.map(({ at, started, waiting }) => [at, started, waiting])).toEqual([
      [100, 0, 2],
      [200, 0, 2],
      [250, 2, 0]
    ])
    log.expectRest()
  })

  it.each([
    ["now and then", 150],
    ["at the end", 50]
  ])("what it throws %s is what the call dies with, once", async (_, millis) => {
    const log = new Log()
    const error = new Error("no screen")
    const onProgress = (): never => {
      throw error
    }
    const call = runOnEach(names(1), (name) => log.task(name, millis), { onProgress })
    await log.play([0, log.named("call", call)])
    const exit = log.exit("call")!
    expect(defectOf(exit)).toBe(error)
    expect(Exit.isFailure(exit) && exit.cause.reasons.length).toBe(1)
    log.expectRest()
  })

  it("is a Stream by way of a queue", async () => {
    const log = new Log()
    const progress = Stream.callback<Progress>((queue) =>
      Effect.andThen(
        runOnEach(names(3), (name) => log.task(name, 100), {
          maxAtOnce: 1,
          onProgress: (each) => void Queue.offerUnsafe(queue, each)
        }),
        Queue.end(queue)
      )
    )
    const seen: Array<number> = []
    await log.play([0, Stream.runForEach(progress, ({ succeeded }) => Effect.sync(() => seen.push(succeeded)))])
    expect(seen.at(-1)).toBe(3)
    log.expectRest()
  })

  it("without it no timer is set", async () => {
    const log = new Log()
    await log.play([0, runOnEach(names(3), (name) => log.task(name))])
    expect(log.world.timersArmed).toBe(1) // the one of the table of instants itself
  })
})
