/** `WorkQueue`: a source that tasks add to. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import fc from "fast-check"
import { amap, Meter, runAll, runAny, runOnEach, WorkQueue } from "../src/index.ts"
import { defectOf, errorOf, Log } from "./support/Log.ts"
import { verbs } from "./support/verbs.ts"
import { simulate, trees } from "./support/workModel.ts"
import type { Node } from "./support/workModel.ts"
import { World } from "./support/World.ts"

/** Reads all items of a queue by a call that starts them one after the other. */
const rest = <A>(queue: WorkQueue.WorkQueue<A>): Effect.Effect<ReadonlyArray<A>, Meter.ExcessivePermits> =>
  runAll(queue, Effect.succeed, { maxAtOnce: 1 })

describe.each(verbs.filter(({ name }) => name !== "runAny"))("$name", ({ run }) => {
  it("waits at an empty queue while a task may still add to it, and ends with the last task", async () => {
    const log = new Log()
    const queue = WorkQueue.makeUnsafe(["slow", "quick"])
    const task = (name: string) =>
      log.around(
        name,
        name === "slow"
          ? Effect.sleep(900).pipe(
              Effect.andThen(WorkQueue.addAll(queue, ["late", "last"])),
              Effect.andThen(Effect.sleep(100))
            )
          : Effect.sleep(50)
      )
    await log.play([0, log.named("call", run(queue, task))])
    expect(log.starts).toEqual(["slow 0", "quick 0", "late 900", "last 900"])
    expect(log.ends).toEqual(["call 1000"])
    expect(Exit.isSuccess(log.exit("call")!)).toBe(true)
    expect(errorOf(await log.world.run(WorkQueue.add(queue, "more")))).toBeInstanceOf(WorkQueue.WorkQueueEnded)
    log.expectRest()
  })

  it("ends at once if the queue is empty", async () => {
    const log = new Log()
    await log.play([
      0,
      log.named(
        "call",
        Effect.flatMap(WorkQueue.make<string>(), (queue) => run(queue, Effect.succeed))
      )
    ])
    expect(log.ends).toEqual(["call 0"])
  })

  it("leaves the items that it has not started, when a task fails or the call is interrupted", async () => {
    for (const ends of ["a failure", "an interruption"]) {
      const log = new Log()
      const queue = WorkQueue.makeUnsafe(["0", "1", "2", "3"])
      const task = (name: string) =>
        log.around(
          name,
          Effect.andThen(Effect.sleep(10), ends === "a failure" && name === "1" ? Effect.fail(ends) : Effect.void)
        )
      const call = run(queue, task, { maxAtOnce: 1 })
      await log.play([0, log.named("call", ends === "a failure" ? call : Effect.timeout(call, 15))])
      expect(log.starts).toEqual(["0 0", "1 10"])
      expect(await log.world.value(rest(queue)), "the one at hand is among them").toEqual(["2", "3"])
    }
  })
})

it("runAny ends when all tasks have failed, and what is left of the queue outlives its winner", async () => {
  const world = new World()
  const queue = WorkQueue.makeUnsafe([0])
  const fails = (n: number) =>
    Effect.sleep(10).pipe(
      Effect.andThen(n < 3 ? WorkQueue.add(queue, n + 1) : Effect.void),
      Effect.andThen(Effect.fail(n))
    )
  const exit = await world.run(runAny(queue, fails))
  expect(
    Exit.isFailure(exit) && exit.cause.reasons.map((reason) => Cause.isFailReason(reason) && reason.error)
  ).toEqual([0, 1, 2, 3])

  const other = WorkQueue.makeUnsafe([0, 1, 2])
  expect(await world.value(runAny(other, Effect.succeed, { maxAtOnce: 1 }))).toBe(0)
  await world.value(WorkQueue.add(other, 3))
  expect(await world.value(rest(other))).toEqual([1, 2, 3])
})

it("amap: leaving the stream early leaves the items that were not started", async () => {
  const queue = WorkQueue.makeUnsafe([0, 1, 2, 3, 4])
  const world = new World()
  await world.value(amap(queue, Effect.succeed, { maxAtOnce: 1, maxUnread: 1 }).pipe(Stream.take(2), Stream.runDrain))
  // When 1 was read, 2 could start.
  expect(await world.value(rest(queue))).toEqual([3, 4])
})

describe("several calls on one queue", () => {
  it("share the items, and end together, with the last task", async () => {
    const log = new Log()
    const queue = WorkQueue.makeUnsafe(["0", "1", "2", "3"])
    const task = (name: string) =>
      log.around(
        name,
        Effect.andThen(Effect.sleep(100), name === "1" ? WorkQueue.addAll(queue, ["4", "5", "6"]) : Effect.void)
      )
    const call = (maxAtOnce: number) => log.named(`call of ${maxAtOnce}`, runOnEach(queue, task, { maxAtOnce }))
    await log.play([0, call(1)], [0, call(2)])
    expect(new Set(log.starts.map((start) => start.split(" ")[0]))).toEqual(
      new Set(["0", "1", "2", "3", "4", "5", "6"])
    )
    expect(log.starts.length).toBe(7)
    expect(new Set(log.ends)).toEqual(new Set(["call of 1 300", "call of 2 300"]))
  })

  it("whenever one of them is interrupted, the other starts what is left, each item once, and ends", async () => {
    for (let at = 0; ; at++) {
      const world = new World({ fine: true })
      const queue = WorkQueue.makeUnsafe([1, 2])
      const started: Array<number> = []
      const task = (n: number) =>
        Effect.suspend(() => {
          started.push(n)
          return Effect.sleep(10)
        }).pipe(Effect.andThen(n < 4 ? WorkQueue.add(queue, n + 2) : Effect.void))
      const first = world.start(runOnEach(queue, task, { maxAtOnce: 1 }))
      const other = world.start(Effect.andThen(Effect.sleep(5), runOnEach(queue, task)))
      const steps = { first: 0 }
      const exit = await world.finish(
        Fiber.join(other).pipe((join) => world.start(join)),
        (step) => {
          steps.first = step
          if (step === at) first.interruptUnsafe()
        }
      )
      expect(Exit.isSuccess(exit), `interrupted after step ${at}`).toBe(true)
      // An item in work when its call is interrupted may not have added what it would have added.
      expect(new Set(started).size, "each item once").toBe(started.length)
      const roots = started.filter((n) => n <= 2).toSorted((a, b) => a - b)
      expect(roots, `interrupted after step ${at}: both seeds`).toEqual([1, 2])
      expect(await world.value(WorkQueue.size(queue))).toBe(0)
      await world.finish(first)
      expect(world.fibersLive + world.timersLeft + world.stepsLeft).toBe(0)
      if (steps.first < at) break
      if (at > 5000) expect.fail("it does not end")
    }
  })
})

it("a call whose meter drains leaves the items that it has not started", async () => {
  const log = new Log()
  const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
  const queue = WorkQueue.makeUnsafe(["0", "1", "2"])
  await log.play(
    [
      0,
      log.named(
        "call",
        runOnEach(queue, (name) => log.task(name, 100), { meter })
      )
    ],
    [10, log.named("drain", Meter.drain(meter))]
  )
  expect(log.starts).toEqual(["0 0", "1 100"])
  expect(defectOf(log.exit("call"))).toBeInstanceOf(Meter.Closed)
  expect(await log.world.value(rest(queue))).toEqual(["2"])
})

it("a long chain of tasks that add one item each needs no stack", async () => {
  const queue = WorkQueue.makeUnsafe([0])
  const exit = await new World().run(
    runAll(queue, (n) => Effect.as(n < 20_000 ? WorkQueue.add(queue, n + 1) : Effect.void, n))
  )
  expect(Exit.isSuccess(exit) && exit.value.at(-1)).toBe(20_000)
})

it("with a key, duplicates are left out, also of items that were taken long ago", async () => {
  const world = new World()
  const queue = await world.value(WorkQueue.make(["a", "A", "b"], { key: (item) => item.toLowerCase() }))
  expect(await world.value(WorkQueue.size(queue))).toBe(2)
  const task = (item: string) => Effect.as(WorkQueue.addAll(queue, ["B", "c", "C", "a"]), item)
  expect(await world.value(runAll(queue, task))).toEqual(["a", "b", "c"])
})

it("a key that throws is the defect of `add`, and one that is async is refused", async () => {
  const world = new World()
  const broken = WorkQueue.makeUnsafe<number>([], {
    key: (n) => {
      if (n === 2) throw new Error("no key")
      return n
    }
  })
  expect(defectOf(await world.run(WorkQueue.addAll(broken, [1, 2])))).toEqual(new Error("no key"))
  expect(await world.value(rest(broken)), "nothing was added").toEqual([])
  const exit = await world.run(WorkQueue.make([0], { key: async (n) => n }))
  expect(defectOf(exit)).toMatchObject({
    _tag: "IllegalArgumentError",
    message: "key must not be async: it has returned a promise, which nothing awaits"
  })
})

it("nothing can be added when the queue has ended, unless it is nothing", async () => {
  const world = new World()
  const queue = WorkQueue.makeUnsafe(["a"])
  await world.value(rest(queue))
  expect(errorOf(await world.run(queue.pipe(WorkQueue.add("b"))))).toMatchObject({
    _tag: "WorkQueueEnded",
    message:
      "the work queue has ended, because it was empty and none of its tasks was left: add items in its tasks, or before the call"
  })
  await world.value(queue.pipe(WorkQueue.addAll([])))
})

it("invalid arguments are refused", async () => {
  const make = WorkQueue.make as (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown>
  const refused: ReadonlyArray<readonly [Effect.Effect<unknown, unknown>, string]> = [
    [make(5), "the seeds must be an Iterable, but is 5"],
    [make([], { key: "id" }), 'key must be a function, but is "id"'],
    [WorkQueue.add({} as WorkQueue.Enqueue<number>, 1), "the queue must be a WorkQueue, but is an object"],
    [WorkQueue.size(null as unknown as WorkQueue.Dequeue<number>), "the queue must be a WorkQueue, but is null"]
  ]
  for (const [effect, message] of refused) {
    expect(defectOf(await new World().run(effect))).toMatchObject({ _tag: "IllegalArgumentError", message })
  }
})

it("isWorkQueue", () => {
  expect([WorkQueue.makeUnsafe([1]), [1], null].map(WorkQueue.isWorkQueue)).toEqual([true, false, false])
})

it("random trees: every start and the end come at the instant of the model", async () => {
  await fc.assert(
    fc.asyncProperty(trees, fc.integer({ min: 1, max: 4 }), fc.boolean(), async (seeds, maxAtOnce, isShared) => {
      // A call takes an item before its meter admits it.
      const model = simulate(seeds, { maxAtOnce, delay: Infinity, ahead: isShared, retries: false })
      fc.pre(!model.isTied)
      const log = new Log()
      const queue = WorkQueue.makeUnsafe(seeds)
      const task = ({ after, before, children, id }: Node) =>
        log.around(
          `${id}`,
          Effect.sleep(before).pipe(
            Effect.andThen(WorkQueue.addAll(queue, children)),
            Effect.andThen(Effect.sleep(after))
          )
        )
      const limit = isShared ? { meter: Meter.makeUnsafe({ maxAtOnce }) } : { maxAtOnce }
      await log.play([0, log.named("call", runOnEach(queue, task, limit))])
      expect(log.starts).toEqual(model.starts.map(([id, at]) => `${id} ${at}`))
      expect(log.ends).toEqual([`call ${model.end}`])
      expect(Exit.isSuccess(log.exit("call")!)).toBe(true)
    }),
    { numRuns: 150 }
  )
})
