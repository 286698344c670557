/** What `Meter.keyed` can do with all of its keys: list, delete, resize, drain, close. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { vi } from "vitest"
import { Meter, runAll, runOnEach } from "../../src/index.ts"
import { Limiter } from "../../src/internal/admission/limiter.ts"
import { SharedLimiter } from "../../src/internal/limits/sharedLimiter.ts"
import { KeyedLimiters } from "../../src/internal/meter/keyedLimiters.ts"
import { defectOf, Log, names } from "../support/Log.ts"

const keysOf = <K>(meters: Meter.Keyed<K, any>): ReadonlyArray<K> => Array.from(meters, ([key]) => key)

const isClosed = (exit: Exit.Exit<unknown, unknown> | undefined): boolean => defectOf(exit) instanceof Meter.Closed

/** Starts another fiber. */
const apart = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkDetach(effect, { startImmediately: true })

describe("iteration", () => {
  it("has the keys in use with their meters", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const seen: Array<unknown> = []
    const look = Effect.gen(function* () {
      for (const [key, meter] of hosts) seen.push([key, (yield* Meter.snapshot(meter)).running])
      seen.push(hosts.size)
    })
    await log.play(
      [0, Meter.metered(log.task("a", 10), hosts.for("a"))],
      [0, Meter.metered(log.task("b", 5), hosts.for("b"))],
      [1, look],
      [6, look],
      [11, look]
    )
    expect(seen).toEqual([["a", 1], ["b", 1], 2, ["a", 1], 1, 0])
  })
})

describe("delete", () => {
  it("what waits dies with Closed, what runs continues, and the key begins anew", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1, windows: { any: { limit: 5, per: 1000 } } })
    const other = Meter.makeUnsafe({ maxAtOnce: 9 })
    const meter = hosts.for("a")
    const seen: Array<unknown> = []
    await log.play(
      [0, log.named("running", Meter.metered(log.task("running", 50), meter))],
      [1, log.named("waiting", Meter.metered(log.task("waiting"), meter))],
      [1, log.named("both", Meter.metered(log.task("both"), Meter.all(meter, other)))],
      [1, log.named("permit", Effect.scoped(Meter.acquire(meter)))],
      [
        1,
        log.named(
          "verb",
          runAll(names(2), (name) => log.task(name), { meter })
        )
      ],
      [5, Effect.map(hosts.delete("a"), (was) => seen.push(was))],
      [6, log.named("next", Meter.metered(log.task("next"), meter))],
      [6, Effect.map(Meter.snapshot(meter), ({ room, running }) => seen.push(running, room["any"]))]
    )
    expect(seen).toEqual([true, 0, 4])
    expect(log.ends).toEqual(["waiting 5", "permit 5", "verb 5", "both 5", "next 6", "running 50"])
    for (const name of ["waiting", "both", "permit", "verb"]) expect(isClosed(log.exit(name)), name).toBe(true)
    expect(log.exit("running")).toEqual(Exit.succeed("running"))
    expect(log.starts).toEqual(["running 0", "next 6"])
    log.expectRest()
  })

  it("a verb of which nothing waits there finishes the item that it has pulled, and dies with Closed", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 2 })
    await log.play(
      [
        0,
        log.named(
          "verb",
          runOnEach(names(3), (name) => log.task(name, 10), { meter: hosts.for("a"), maxAtOnce: 1 })
        )
      ],
      [5, hosts.delete("a")]
    )
    expect(isClosed(log.exit("verb"))).toBe(true)
    expect(log.starts).toEqual(["t0 0", "t1 10"])
    expect(log.ends).toEqual(["verb 20"])
    log.expectRest()
  })

  it("a verb whose items have meters of their own dies with Closed if one waits there", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const call = runAll(["a", "b", "a"], (key) => log.task(key, 20), { meter: (key) => hosts.for(key) })
    await log.play([0, log.named("verb", call)], [5, hosts.delete("a")])
    expect(isClosed(log.exit("verb"))).toBe(true)
    expect(log.starts).toEqual(["a 0", "b 0"])
    log.expectRest()
  })

  it("interrupted waiters of a deleted key leave nothing behind", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const program = Effect.gen(function* () {
      const running = yield* apart(Meter.metered(Effect.sleep(50), hosts.for("a")))
      const waiting = yield* apart(Meter.metered(Effect.void, hosts.for("a")))
      yield* Effect.all([hosts.delete("a"), Fiber.interrupt(waiting)], { concurrency: 2 })
      yield* Fiber.interrupt(running)
      return hosts.size
    })
    expect(await log.world.value(program)).toBe(0)
    log.expectRest()
  })

  it("of a key that is not in use gives false", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const deleted = [hosts.delete("a"), Effect.andThen(Meter.metered(Effect.void, hosts.for("a")), hosts.delete("a"))]
    expect(await log.world.value(Effect.all(deleted))).toEqual([false, false])
  })

  it("opens a key that was drained", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const program = Effect.gen(function* () {
      yield* Meter.drain(hosts.for("a"))
      return [yield* hosts.delete("a"), yield* Meter.metered(Effect.succeed("open"), hosts.for("a"))]
    })
    expect(await log.world.value(program)).toEqual([true, "open"])
  })
})

describe("resize", () => {
  it("changes all keys: those in use, those that were resized, and those to come", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ name: "family test", maxAtOnce: 1 })
    const free = (key: string) => Effect.map(Meter.snapshot(hosts.for(key)), ({ free }) => free)
    const seen: Array<unknown> = []
    await log.play(
      [0, Meter.metered(log.task("a", 10), hosts.for("a"))],
      [1, Meter.metered(log.task("b", 10), hosts.for("a"))],
      [2, Meter.resize(hosts.for("own"), { maxAtOnce: 9 })],
      [5, hosts.resize({ maxAtOnce: 3 })],
      [6, Effect.map(Effect.all(["a", "own", "new"].map(free)), (all) => seen.push(all))],
      [20, Effect.sync(() => seen.push(keysOf(hosts)))]
    )
    expect(log.starts).toEqual(["a 0", "b 5"])
    expect(seen).toEqual([[1, 3, 3], ["own"]])
    await log.world.value(hosts.resize({ maxPerSecond: 5 }))
    const { limits } = await log.world.value(Meter.snapshot(hosts.for("later")))
    expect(limits).toMatchObject({ maxAtOnce: 3, maxPerSecond: 5 })
  })

  it("dies of invalid limits, and of limits on waiting that its type does not tell of", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    for (const limits of [{ maxAtOnce: 0 }, { concurrency: 1 }, { maxWaiting: 1 }, { waitTimeout: 5 }]) {
      expect(defectOf(await log.world.run(hosts.resize(limits as object)))).toBeInstanceOf(Cause.IllegalArgumentError)
    }
    const guarded = Meter.keyedUnsafe<string>({ maxAtOnce: 1, maxWaiting: 5 })
    await log.world.value(guarded.resize({ maxWaiting: 0 }))
    await log.play(
      [0, Meter.metered(Effect.sleep(5), guarded.for("a"))],
      [1, log.named("refused", Meter.metered(Effect.void, guarded.for("a")))]
    )
    expect(log.exit("refused")).toMatchObject({ _tag: "Failure" })
  })
})

it("snapshot has the state of each key in use", async () => {
  const log = new Log()
  const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 2 })
  const seen: Array<unknown> = []
  const look = Effect.map(hosts.snapshot, (all) =>
    seen.push(...Array.from(all, ([key, { free, running }]) => [key, running, free]))
  )
  await log.play(
    [0, Meter.metered(Effect.sleep(10), hosts.for("a"))],
    [0, Meter.metered(Effect.sleep(10), hosts.for("b"))],
    [1, look],
    [20, look]
  )
  expect(seen).toEqual([
    ["a", 1, 1],
    ["b", 1, 1]
  ])
})

describe("idle", () => {
  it("completes when no key is in use any more, also keys that came later", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const task = (key: string, millis: number) => Meter.metered(Effect.sleep(millis), hosts.for(key))
    await log.play(
      [0, log.named("none", hosts.idle)],
      [1, task("a", 9)],
      [1, task("b", 4)],
      [2, log.named("idle", hosts.idle)],
      [7, task("b", 20)],
      [8, task("a", 4)]
    )
    expect(log.ends).toEqual(["none 0", "idle 27"])
    log.expectRest()
  })

  it("can be interrupted", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    await log.play(
      [0, Meter.metered(Effect.sleep(10), hosts.for("a"))],
      [0, log.named("idle", Effect.timeoutOption(hosts.idle, 5))]
    )
    expect(log.ends).toEqual(["idle 5"])
    log.expectRest()
  })

  it("asks each limiter a few times, not each time that another one becomes idle", () => {
    const limiters = new KeyedLimiters<number>(() => new SharedLimiter({ maxAtOnce: 1 }))
    const all = Array.from({ length: 500 }, (_, key) => {
      const limiter = limiters.of(key)
      limiter.addCall()
      return limiter
    })
    const isIdle = vi.spyOn(Limiter.prototype, "isIdle", "get")
    const f = vi.fn<() => void>()
    limiters.whenIdle(f)
    for (const each of all.toReversed()) each.removeCall()
    expect(f).toHaveBeenCalledTimes(1)
    expect(isIdle.mock.calls.length).toBeGreaterThan(500)
    expect(isIdle.mock.calls.length).toBeLessThan(5 * 500)
    isIdle.mockRestore()
    // Cancelled too late.
    limiters.whenIdle(f)()
    expect(f).toHaveBeenCalledTimes(2)
  })
})

describe("drain and close", () => {
  it("drain finishes what runs and waits, and refuses all that comes later, of whichever key", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const task = (name: string, key: string) => log.named(name, Meter.metered(log.task(name, 10), hosts.for(key)))
    await log.play(
      [0, task("first", "a")],
      [0, task("second", "a")],
      [5, log.named("drain", hosts.drain)],
      [6, task("late", "a")],
      [6, task("new", "b")]
    )
    expect(log.ends).toEqual(["late 6", "new 6", "first 10", "drain 20", "second 20"])
    expect(isClosed(log.exit("late")) && isClosed(log.exit("new"))).toBe(true)
    expect(keysOf(hosts)).toEqual(["a"])
    log.expectRest()
  })

  it("close has what waits die with Closed, and waits for what runs", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const task = (name: string, key: string) => log.named(name, Meter.metered(log.task(name, 10), hosts.for(key)))
    await log.play(
      [0, task("first", "a")],
      [0, task("second", "a")],
      [5, log.named("close", hosts.close)],
      [6, task("new", "b")],
      [30, hosts.delete("a")],
      [31, task("again", "a")]
    )
    expect(log.ends).toEqual(["second 5", "new 6", "close 10", "first 10", "again 31"])
    for (const name of ["second", "new", "again"]) expect(isClosed(log.exit(name)), name).toBe(true)
    log.expectRest()
  })
})
