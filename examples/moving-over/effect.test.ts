/** The Effect section of the guide. */
import { beforeEach, expect } from "vitest"
import { Duration, Effect, Fiber, Layer, Option, Semaphore, Stream } from "effect"
import { RateLimiter } from "effect/persistence"
import { amap, Meter, runAll, runAny, runOnEach } from "fibermeter"
import * as cast from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { useRealTime, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

const { failure, ids, mostAtOnce, pages, save, saved } = cast
const getPage = (id: number) => Effect.promise(() => cast.getPage(id))
const flaky = (id: number) => Effect.tryPromise({ try: () => cast.flaky(id), catch: () => failure })
const getAndSave = (id: number) => Effect.map(getPage(id), save)
const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

let semaphore = Semaphore.makeUnsafe(2)
let api = Meter.makeUnsafe({ maxAtOnce: 2 })
beforeEach(() => {
  semaphore = Semaphore.makeUnsafe(2)
  api = Meter.makeUnsafe({ maxAtOnce: 2 })
})

call(
  "get all results, in input order",
  {
    theirs: () => Effect.forEach(ids, getPage, { concurrency: 2 }),
    ours: () => runAll(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: pages }
)

call(
  "run one task after the other",
  {
    theirs: () => Effect.forEach(ids, getPage),
    ours: () => runAll(ids, getPage, { maxAtOnce: 1 })
  },
  { gives: pages }
)

call(
  "run without a limit",
  {
    theirs: () => Effect.forEach(ids, getPage, { concurrency: "unbounded" }),
    ours: () => runAll(ids, getPage)
  },
  { gives: pages }
)

call(
  "run a task for each item, without results",
  {
    theirs: () => Effect.forEach(ids, getAndSave, { concurrency: 2, discard: true }),
    ours: () => runOnEach(ids, getAndSave, { maxAtOnce: 2 })
  },
  { gives: ["page 2", "page 3", "page 1"], theirs: () => saved.splice(0), ours: () => saved.splice(0) }
)

call(
  "run different effects",
  {
    theirs: () => Effect.all({ one: getPage(1), three: getPage(3) }, { concurrency: 2 }),
    ours: () => runAll({ one: getPage(1), three: getPage(3) }, { maxAtOnce: 2 })
  },
  { gives: { one: "page 1", three: "page 3" } }
)

call(
  "get a Stream of results, in input order",
  {
    theirs: () => Stream.mapEffect(Stream.fromIterable(ids), getPage, { concurrency: 2 }),
    ours: () => amap(ids, getPage, { maxAtOnce: 2, ordered: true })
  },
  { gives: pages }
)

call(
  "get each result as it becomes available",
  {
    theirs: () => Stream.mapEffect(Stream.fromIterable(ids), getPage, { concurrency: 2, unordered: true }),
    ours: () => amap(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: ["page 2", "page 3", "page 1"] }
)

call(
  "get the first success",
  {
    theirs: () => Effect.raceAll(ids.map(getPage)),
    ours: () => runAny(ids, getPage)
  },
  { gives: "page 2" }
)

call(
  "get the first outcome, even a failure",
  {
    theirs: () => Effect.raceAllFirst(ids.map(flaky)),
    ours: () => runAny(ids, flaky, { until: "settled" })
  },
  { rejects: failure }
)

call(
  "limit how many run at once, in a whole program",
  {
    theirs: () => Semaphore.make(2),
    ours: () => Meter.make({ maxAtOnce: 2 })
  },
  {
    gives: 2,
    theirs: (semaphore) => mostAtOnce((task) => run(semaphore.withPermit(Effect.promise(task)))),
    ours: (api) => mostAtOnce((task) => run(Meter.metered(Effect.promise(task), api)))
  }
)

call(
  "run one effect, under `semaphore` or `api`",
  {
    theirs: () => semaphore.withPermit(getPage(1)),
    ours: () => Meter.metered(getPage(1), api)
  },
  { gives: "page 1" }
)

call(
  "limit the starts in a time window",
  {
    theirs: () => {
      const program = Effect.gen(function* () {
        const withLimiter = yield* RateLimiter.makeWithRateLimiter
        const limited = withLimiter({ key: "api", limit: 2, window: "1 second", onExceeded: "delay" })
        return yield* Effect.forEach(ids, (id) => limited(getPage(id)), { concurrency: "unbounded" })
      })
      const limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))
      return Effect.provide(program, limiter)
    },
    ours: () => {
      const program = Effect.gen(function* () {
        const api = yield* Meter.make({ windows: { calls: { limit: 2, per: "1 second" } } })
        return yield* runAll(ids, getPage, { meter: api })
      })
      return program
    }
  },
  { gives: pages }
)

/** Tasks that log when they start, end, fail or are interrupted. */
const diary = () => {
  const { instants, log, note: noteNow } = cast.diary()
  const note = (what: string) => Effect.sync(() => noteNow(what))
  const task = (id: number | string, ms: number) =>
    Effect.as(Effect.sleep(ms), `page ${id}`).pipe(
      Effect.tap(note(`${id} ends`)),
      Effect.onInterrupt(() => note(`${id} is interrupted`)),
      (effect) => Effect.andThen(note(`${id} starts`), effect)
    )
  const failing = (id: number | string, ms: number) =>
    Effect.andThen(
      note(`${id} starts`),
      Effect.andThen(Effect.andThen(Effect.sleep(ms), note(`${id} fails`)), Effect.fail(failure))
    )
  return { log, note, task, failing, instants }
}

differs("Without options", {
  theirs: [
    "`Effect.forEach` and `Stream.mapEffect` run one effect at a time",
    async () => {
      const { log, task } = diary()
      await value(run(Effect.forEach([1, 2], (id) => task(id, 10))))
      expect(log).toEqual(["0: 1 starts", "10: 1 ends", "10: 2 starts", "20: 2 ends"])
    }
  ],
  ours: [
    "nothing is limited",
    async () => {
      const { log, task } = diary()
      await value(run(runAll([1, 2], (id) => task(id, 10))))
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 1 ends", "10: 2 ends"])
    }
  ]
})

differs("A limit of 0", {
  theirs: [
    "is treated as 1",
    async () => {
      expect(await value(run(Effect.forEach(ids, getPage, { concurrency: 0 })))).toEqual(pages)
    }
  ],
  ours: [
    "is rejected: the call dies with an `IllegalArgumentError`",
    async () => {
      const exit = Effect.runPromise(runAll(ids, getPage, { maxAtOnce: 0 })).catch(String)
      expect(await value(exit)).toMatch(/^IllegalArgumentError: maxAtOnce/)
    }
  ]
})

differs("An effect that needs several permits", {
  theirs: [
    "uses `semaphore.withPermits(n)`",
    async () => {
      const semaphore = Semaphore.makeUnsafe(4)
      expect(await value(mostAtOnce((task) => run(semaphore.withPermits(2)(Effect.promise(task)))))).toBe(2)
    }
  ],
  ours: [
    "uses `permits: n` of `Meter.metered`, `Meter.acquire` or a verb; `cost` counts against windows only",
    async () => {
      const api = Meter.makeUnsafe({ maxAtOnce: 4, windows: { points: { limit: 100, per: "1 second" } } })
      const permits = Meter.metered(api, { permits: 2 })
      expect(await value(mostAtOnce((task) => run(permits(Effect.promise(task)))))).toBe(2)
      const cost = Meter.metered(api, { cost: { points: 2 } })
      expect(await value(mostAtOnce((task) => run(cost(Effect.promise(task)))))).toBe(4)
    }
  ]
})

/** An iterable that counts the items pulled from it and records whether it was closed. */
const counted = (length: number) => {
  const seen = { taken: 0, closed: false }
  const items = function* () {
    try {
      for (let id = 1; id <= length; id++) {
        seen.taken += 1
        yield id
      }
    } finally {
      seen.closed = true
    }
  }
  return { items: items(), seen }
}

differs("The items of `forEach` and `runAll`", {
  theirs: [
    "are copied before the first effect starts",
    async () => {
      const { items, seen } = counted(1000)
      const first = Effect.sync(() => seen.taken)
      const taken = await value(run(Effect.forEach(items, () => first, { concurrency: 2 })))
      expect(taken[0]).toBe(1000)
    }
  ],
  ours: [
    "are pulled as tasks start, at most one ahead; they may be infinite, or a Stream",
    async () => {
      const { items, seen } = counted(1000)
      const first = Effect.sync(() => seen.taken)
      const taken = await value(run(runAll(items, () => first, { maxAtOnce: 2 })))
      expect(taken[0]).toBeLessThanOrEqual(2)
    }
  ]
})

differs("An iterable source that is left early", {
  theirs: [
    "`Stream.fromIterable` pulls up to 4,096 items, and does not close it",
    async () => {
      const { items, seen } = counted(10_000)
      const stream = Stream.mapEffect(Stream.fromIterable(items), Effect.succeed, { concurrency: 2 })
      expect(await value(run(Stream.runCollect(Stream.take(stream, 2))))).toEqual([1, 2])
      expect(seen).toEqual({ taken: 4096, closed: false })
    }
  ],
  ours: [
    "`amap(items, …)` pulls the items that it started and one more, and closes it",
    async () => {
      const { items, seen } = counted(10_000)
      const stream = amap(items, Effect.succeed, { maxAtOnce: 2 })
      expect(await value(run(Stream.runCollect(Stream.take(stream, 2))))).toEqual([1, 2])
      // Two items that were read, `maxUnread` that were not, and one ahead.
      expect(seen.taken).toBeLessThanOrEqual(2 + 4 + 1)
      expect(seen.closed).toBe(true)
    }
  ]
})

differs("When a task of a Stream fails while the reader is busy", {
  theirs: [
    "the others continue, and with `unordered` more may start, until the reader reaches the failure",
    async () => {
      const { failing, log, note, task } = diary()
      const work = (id: number) => (id === 2 ? failing(id, 20) : task(id, id === 1 ? 10 : 50))
      const stream = Stream.mapEffect(Stream.make(1, 2, 3, 4), work, { concurrency: 2, unordered: true })
      const read = Stream.runForEach(stream, (page) => Effect.andThen(note(page), Effect.sleep(100)))
      expect(await value(run(Effect.flip(read)))).toBe(failure)
      expect(log).toEqual([
        "0: 1 starts",
        "0: 2 starts",
        "10: 1 ends",
        "10: page 1",
        "10: 3 starts",
        "20: 2 fails",
        "20: 4 starts",
        "60: 3 ends",
        "70: 4 ends"
      ])
    }
  ],
  ours: [
    "the others are interrupted at once, and no other task starts",
    async () => {
      const { failing, log, note, task } = diary()
      const work = (id: number) => (id === 2 ? failing(id, 20) : task(id, id === 1 ? 10 : 50))
      const stream = amap([1, 2, 3, 4], work, { maxAtOnce: 2 })
      const read = Stream.runForEach(stream, (page) => Effect.andThen(note(page), Effect.sleep(100)))
      expect(await value(run(Effect.flip(read)))).toBe(failure)
      expect(log.toSorted()).toEqual(
        [
          "0: 1 starts",
          "0: 2 starts",
          "10: 1 ends",
          "10: page 1",
          "10: 3 starts",
          "20: 2 fails",
          "20: 3 is interrupted"
        ].toSorted()
      )
    }
  ]
})

const limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))

/** One start, a pause of almost a second, then five more starts. */
const aroundTheEnd = (limited: (task: Effect.Effect<void>) => Effect.Effect<void, unknown>) =>
  Effect.gen(function* () {
    const { instants, note } = diary()
    yield* limited(note("start"))
    yield* Effect.sleep(999)
    yield* Effect.forEach([1, 2, 3, 4, 5], () => limited(note("start")), { concurrency: "unbounded" })
    return instants()
  })

differs("A `RateLimiter` of 2 per second, and a window of 2 per second", {
  theirs: [
    "can start more than 2 within a second, with either algorithm",
    async () => {
      const starts = (algorithm: "fixed-window" | "token-bucket") =>
        Effect.gen(function* () {
          const withLimiter = yield* RateLimiter.makeWithRateLimiter
          const options = { key: "api", limit: 2, window: "1 second", onExceeded: "delay", algorithm } as const
          return yield* aroundTheEnd(withLimiter(options))
        })
      const fixed = await value(run(Effect.provide(starts("fixed-window"), limiter)))
      expect(fixed).toEqual([0, 999, 999, 1999, 1999, 2999])
      const bucket = await value(run(Effect.provide(starts("token-bucket"), limiter)))
      expect(bucket).toEqual([0, 999, 999, 1499, 1999, 2499])
    }
  ],
  ours: [
    "never starts more than 2 within any second",
    async () => {
      const api = Meter.makeUnsafe({ windows: { calls: { limit: 2, per: "1 second" } } })
      expect(await value(run(aroundTheEnd(Meter.metered(api))))).toEqual([0, 999, 1000, 1999, 2000, 2999])
    }
  ]
})

differs("Five waiters that were interrupted", {
  theirs: [
    "still count against the `RateLimiter`: the next effect waits five intervals longer",
    async () => {
      const program = Effect.gen(function* () {
        const withLimiter = yield* RateLimiter.makeWithRateLimiter
        return yield* afterInterruption(withLimiter({ key: "api", limit: 1, window: "1 second", onExceeded: "delay" }))
      })
      expect(await value(run(Effect.provide(program, limiter)))).toEqual([0, 6000])
    }
  ],
  ours: [
    "do not delay the next one",
    async () => {
      const api = Meter.makeUnsafe({ windows: { calls: { limit: 1, per: "1 second" } } })
      expect(await value(run(afterInterruption(Meter.metered(api))))).toEqual([0, 1000])
    }
  ]
})

/** One start, then five waiters that are interrupted, then another start. */
const afterInterruption = (limited: (task: Effect.Effect<void>) => Effect.Effect<void, unknown>) =>
  Effect.gen(function* () {
    const { instants, note } = diary()
    yield* limited(note("start"))
    const waiting = yield* Effect.forkChild(
      Effect.forEach([1, 2, 3, 4, 5], () => limited(note("never")), { concurrency: "unbounded" })
    )
    yield* Effect.sleep(100)
    yield* Fiber.interrupt(waiting)
    yield* limited(note("start"))
    return instants()
  })

differs("Failing instead of waiting", {
  theirs: [
    'is `onExceeded: "fail"`: the effect fails with a `RateLimiterError` that has the time to wait',
    async () => {
      const program = Effect.gen(function* () {
        const withLimiter = yield* RateLimiter.makeWithRateLimiter
        const limited = withLimiter({ key: "api", limit: 1, window: "1 second", onExceeded: "fail" })
        yield* limited(Effect.void)
        return yield* Effect.flip(limited(Effect.void))
      })
      const error = await value(run(Effect.provide(program, limiter)))
      expect(error).toMatchObject({ _tag: "RateLimiterError", reason: { _tag: "RateLimitExceeded" } })
    }
  ],
  ours: [
    "is a meter with `maxWaiting: 0`: the effect fails with `Overloaded`, which has the time to wait; or `Meter.meteredIfAvailable`, which gives `None`",
    async () => {
      const api = Meter.makeUnsafe({ maxWaiting: 0, windows: { calls: { limit: 1, per: "1 second" } } })
      await value(run(Meter.metered(Effect.void, api)))
      const error = await value(run(Effect.flip(Meter.metered(Effect.void, api))))
      expect(error).toMatchObject({ _tag: "Overloaded", retryAfter: Option.some(Duration.seconds(1)) })
      expect(await value(run(Meter.meteredIfAvailable(Effect.void, api)))).toEqual(Option.none())
    }
  ]
})

differs("While all tasks await promises that are already resolved, timers and I/O", {
  theirs: [
    "wait until all tasks have ended",
    async () => {
      useRealTime()
      let fired = false
      setTimeout(() => (fired = true), 0)
      const many = Array.from({ length: 20_000 }, (_, id) => id)
      await run(Effect.forEach(many, (id) => Effect.promise(async () => id), { concurrency: 10, discard: true }))
      expect(fired).toBe(false)
    }
  ],
  ours: [
    "run every few milliseconds",
    async () => {
      useRealTime()
      let fired = false
      setTimeout(() => (fired = true), 0)
      const items = function* () {
        for (let id = 0; !fired; id++) yield id
      }
      await run(runOnEach(items(), (id) => Effect.promise(async () => id), { maxAtOnce: 10 }))
      expect(fired).toBe(true)
    }
  ]
})
