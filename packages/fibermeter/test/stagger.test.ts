/** `runAny` with `stagger`: the next task starts after a delay, or as soon as a task has failed. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Stream } from "effect"
import fc from "fast-check"
import { Meter, runAny, type RunAnyOptions, WorkQueue } from "../src/index.ts"
import { Log, names } from "./support/Log.ts"
import { simulateRace } from "./support/staggerModel.ts"
import { World } from "./support/World.ts"

const five = names(5)

const race = async (
  task: (name: string, log: Log) => Effect.Effect<unknown, unknown>,
  options: RunAnyOptions<Meter.Meter>,
  interruptAt = 10_000
) => {
  const log = new Log()
  const call = runAny(five, (name) => log.around(name, task(name, log)), options)
  await log.play([0, log.named("call", Effect.timeout(call, interruptAt))])
  log.expectRest()
  return log
}

const fails = (millis: number) => Effect.andThen(Effect.sleep(millis), Effect.fail("no"))

it("starts a task after each delay, until one wins", async () => {
  const log = await race((name) => (name === "t2" ? Effect.sleep(100) : Effect.never), { stagger: "250 millis" })
  expect(log.starts).toEqual(["t0 0", "t1 250", "t2 500"])
  expect(log.ends).toEqual(["call 600"])
})

it("starts the next task as soon as one has failed, and counts the delay from there", async () => {
  const log = await race((name) => (name === "t0" ? fails(40) : Effect.never), { stagger: 250 }, 600)
  expect(log.starts).toEqual(["t0 0", "t1 40", "t2 290", "t3 540"])
  expect(log.ends).toEqual(["call 600"])
})

it("tasks that fail at once need no delay, and all failures are reported", async () => {
  const log = await race((name) => Effect.fail(name), { stagger: 250 })
  expect(log.starts).toEqual(five.map((name) => `${name} 0`))
  const exit = log.exit("call")!
  expect(Exit.isFailure(exit) && exit.cause).toEqual(Cause.fromReasons(five.map((name) => Cause.makeFailReason(name))))
})

it("Infinity: the next task starts only after a failure; 0: all start at once", async () => {
  const one = await race((name) => (name === "t2" ? Effect.sleep(10) : fails(1000)), { stagger: "Infinity" })
  expect(one.starts).toEqual(["t0 0", "t1 1000", "t2 2000"])
  const all = await race(() => Effect.sleep(10), { stagger: 0 })
  expect(all.starts).toEqual(five.map((name) => `${name} 0`))
})

it("limits admit the starts", async () => {
  const rate = await race(() => Effect.never, { stagger: 100, maxPerSecond: 2 }, 1200)
  expect(rate.starts).toEqual(["t0 0", "t1 500", "t2 1000"])
  const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
  const permits = await race((name) => (name === "t0" ? fails(1000) : Effect.never), { stagger: 100, meter }, 1100)
  expect(permits.starts).toEqual(["t0 0", "t1 100", "t2 1000"])
})

it("a Stream slower than the delay: a task starts when its item comes", async () => {
  const log = new Log()
  const items = Stream.fromIterable(five).pipe(
    Stream.rechunk(1),
    Stream.tap(() => Effect.sleep(300))
  )
  const call = runAny(items, (name) => log.around(name, Effect.never), { stagger: 100 })
  await log.play([0, log.named("call", Effect.timeout(call, 1000))])
  expect(log.starts).toEqual(["t0 300", "t1 600", "t2 900"])
  log.expectRest()
})

it("a work queue keeps the item that was held back", async () => {
  const queue = WorkQueue.makeUnsafe([0, 1, 2])
  const world = new World()
  await world.value(runAny(queue, () => Effect.sleep(50), { stagger: 100 }))
  expect(await world.value(WorkQueue.size(queue))).toBe(2)
})

describe("the delay ends with the race", () => {
  it("though the losers take their time", async () => {
    const log = new Log()
    const task = (name: string) =>
      log.around(name, name === "t0" ? Effect.sleep(50) : Effect.ensuring(Effect.never, Effect.sleep(500)))
    await log.play(
      [0, log.named("call", runAny(five, task, { stagger: 30 }))],
      [60, Effect.sync(() => expect(log.world.timersLeft, "the finalizer's").toBe(1))]
    )
    expect(log.starts).toEqual(["t0 0", "t1 30"])
    expect(log.ends).toEqual(["call 550"])
    log.expectRest()
  })

  it("at whatever step it is interrupted", async () => {
    for (let at = 0, isOver = false; !isOver; at++) {
      const world = new World({ fine: true })
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      let started = 0
      const task = (n: number) =>
        Effect.suspend(() => {
          started++
          return n === 3 ? Effect.sleep(20) : fails(15)
        })
      const fiber = world.start(runAny([0, 1, 2, 3, 4], task, { stagger: 10, meter }))
      isOver = true
      let atInterruption: number | undefined
      await world.finish(fiber, (step) => {
        if (step !== at || fiber.pollUnsafe() !== undefined) return
        isOver = false
        fiber.interruptUnsafe()
        atInterruption = started
      })
      expect(world.fibersLive + world.timersLeft + world.stepsLeft, `after step ${at}`).toBe(0)
      expect(started, "nothing starts afterwards").toBe(atInterruption ?? started)
      const { free } = await world.value(Meter.snapshot(meter))
      expect(free).toBe(2)
      if (at > 5000) expect.fail("it does not end")
    }
  })
})

it("random races: every start and the end come at the instant of the model", async () => {
  const racer = fc.record({ lasts: fc.integer({ min: 1, max: 10_000 }), wins: fc.constantFrom(false, false, true) })
  await fc.assert(
    fc.asyncProperty(
      fc.array(racer, { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 1, max: 3000 }),
      fc.constantFrom(1, 2, 3, Infinity),
      async (racers, stagger, maxAtOnce) => {
        const model = simulateRace(racers, { stagger, maxAtOnce })
        fc.pre(!model.isTied)
        const log = new Log()
        const task = ({ lasts, wins }: (typeof racers)[number], index: number) =>
          log.around(`${index}`, Effect.andThen(Effect.sleep(lasts), wins ? Effect.succeed(index) : Effect.fail("no")))
        await log.play([0, log.named("call", runAny(racers, task, { stagger, maxAtOnce }))])
        expect(log.starts).toEqual(model.starts.map((at, index) => `${index} ${at}`))
        expect(log.ends).toEqual([`call ${model.end}`])
        const exit = log.exit("call")!
        expect(Exit.isSuccess(exit) ? exit.value : undefined).toBe(model.winner)
      }
    ),
    { numRuns: 150 }
  )
})
