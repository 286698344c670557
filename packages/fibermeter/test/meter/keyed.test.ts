/** Families of meters: one for each key, the same for the same key, and nothing left of keys that are long idle. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Meter, runOnEach } from "../../src/index.ts"
import { Log, names } from "../support/Log.ts"
import { range } from "../support/Spy.ts"

describe("keyed", () => {
  it("one slow key does not hold back the others", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const one = (key: string, name: string, lasting: number) => Meter.metered(log.task(name, lasting), hosts.for(key))
    await log.play(
      [0, one("slow", "s0", 1000)],
      [1, one("slow", "s1", 10)],
      [2, one("quick", "q0", 10)],
      [3, one("quick", "q1", 10)],
      [4, one("other", "o0", 10)]
    )
    expect(log.starts).toEqual(["s0 0", "q0 2", "o0 4", "q1 12", "s1 1000"])
  })

  it("each key has all the limits to itself", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<number>({ maxAtOnce: 2, maxPerSecond: 10, windows: { r: { limit: 3, per: 1000 } } })
    await log.play([
      0,
      Effect.forEach(
        [1, 2],
        (key) => runOnEach(names(4), (name) => log.task(`${key}${name}`, 150), { meter: hosts.for(key) }),
        { concurrency: 2 }
      )
    ])
    for (const key of [1, 2]) {
      expect(log.starts.filter((start) => start.startsWith(String(key)))).toEqual([
        `${key}t0 0`,
        `${key}t1 100`,
        `${key}t2 200`,
        `${key}t3 1000`
      ])
    }
  })

  it("the same key is the same meter, whether its handle is kept or not", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ windows: { r: { limit: 1, per: 100 } } })
    const kept = hosts.for("a")
    await log.play(
      [0, Meter.metered(log.task("first"), kept)],
      [10, Meter.metered(log.task("second"), hosts.for("a"))],
      [20, Meter.metered(log.task("third"), kept)]
    )
    expect(log.starts).toEqual(["first 0", "second 100", "third 200"])
  })

  it("a kept handle stays its key's meter, however long the key was idle", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1, windows: { r: { limit: 2, per: 100 } } })
    const kept = hosts.for("a")
    await log.play([0, Meter.metered(log.task("first"), kept)])
    await log.world.value(Effect.sleep(10_000))
    expect(hosts.size).toBe(0)
    await log.play(
      [0, Meter.metered(log.task("kept", 30), kept)],
      [1, Meter.metered(log.task("anew", 30), hosts.for("a"))],
      [2, Meter.metered(log.task("kept again", 30), kept)]
    )
    expect(log.starts).toEqual(["first 0", "kept 10000", "anew 10030", "kept again 10100"])
  })

  it("a handle within Meter.all stays its key's meter, too", async () => {
    const log = new Log()
    const program = Meter.makeUnsafe({ maxAtOnce: 10 })
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const both = Meter.all(program, hosts.for("a"))
    await log.play([0, Meter.metered(log.task("first", 10), both)])
    expect(hosts.size).toBe(0)
    await log.play(
      [90, Meter.metered(log.task("anew", 30), hosts.for("a"))],
      [100, Meter.metered(log.task("both", 30), both)]
    )
    expect(log.starts).toEqual(["first 0", "anew 100", "both 130"])
  })

  it("a call that has nothing to start for a while keeps to its key's limits with all others", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const slowly = Stream.fromIterable([0, 100, 100]).pipe(
      Stream.mapEffect((millis) => Effect.as(Effect.sleep(millis), millis))
    )
    await log.play(
      [0, runOnEach(slowly, (_, index) => log.task(`call ${index}`, 10), { meter: hosts.for("a") })],
      [50, Effect.sync(() => hosts.size)],
      [60, Meter.metered(log.task("other", 100), hosts.for("a"))]
    )
    expect(log.starts).toEqual(["call 0 0", "other 60", "call 1 160", "call 2 260"])
    expect(log.peak).toBe(1)
  })

  it("keys are compared as in a Map", async () => {
    const log = new Log()
    const keys = Meter.keyedUnsafe<unknown>({ maxAtOnce: 1 })
    const object = {}
    await log.play(
      ...[Number.NaN, Number.NaN, object, object, {}, 0, -0, "0", undefined, undefined].map(
        (key, index) => [index / 1000, Meter.metered(log.task(String(index), 10), keys.for(key))] as const
      )
    )
    const waited = log.starts
      .filter((start) => Number(start.split(" ")[1]) >= 1)
      .map((start) => Number(start.split(" ")[0]))
    expect(waited.toSorted((a, b) => a - b)).toEqual([1, 3, 6, 9])
  })

  it.effect("is an Effect, which makes a new family each time it runs", () =>
    Effect.gen(function* () {
      const make = Meter.keyed<string>({ maxAtOnce: 1 })
      const one = yield* make
      const other = yield* make
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Meter.acquire(one.for("a"))
          expect((yield* Meter.snapshot(one.for("a"))).free).toBe(0)
          expect((yield* Meter.snapshot(other.for("a"))).free).toBe(1)
        })
      )
    })
  )

  it("its size only counts: reading it drops no key", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    await log.play([0, Meter.metered(log.task("a", 10), hosts.for("a"))])
    expect(hosts.size).toBe(0)
    expect((await log.world.value(Meter.snapshot(hosts.for("a")))).started).toBe(1)
  })
})

describe("what is known of a key", () => {
  const sizeAt = (hosts: Meter.Keyed<any>, seen: Array<number>) => Effect.sync(() => seen.push(hosts.size))

  it("is nothing at first, and nothing comes of asking alone", () => {
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1, maxPerSecond: 1 })
    expect(hosts.size).toBe(0)
    hosts.for("a")
    expect(hosts.size).toBe(0)
  })

  it.each([
    ["the window of a rate", { maxPerSecond: 10 }, 1000],
    ["the window of a slow rate", { maxPerSecond: 0.2 }, 5000],
    ["the window of a burst", { maxPerSecond: 2, maxBurst: 6 }, 3000],
    [
      "the longest of several windows",
      { maxPerSecond: 10, windows: { a: { limit: 5, per: 7000 }, b: { limit: 5, per: 50 } } },
      7000
    ]
  ] as ReadonlyArray<readonly [string, Meter.Limits, number]>)(
    "is kept as long as %s reaches it, and dropped then",
    async (_, limits, reach) => {
      const log = new Log()
      const hosts = Meter.keyedUnsafe<string>(limits)
      const seen: Array<number> = []
      await log.play(
        [0, Meter.metered(log.task("a", 20), hosts.for("a"))],
        [1, sizeAt(hosts, seen)],
        [reach - 0.000_001, sizeAt(hosts, seen)],
        [reach, sizeAt(hosts, seen)]
      )
      expect(seen).toEqual([1, 1, 0])
    }
  )

  it("is kept while something runs, however long, or waits", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const seen: Array<number> = []
    await log.play(
      [0, Meter.metered(log.task("a", 1_000_000), hosts.for("a"))],
      [10, Meter.metered(log.task("b", 1_000_000), hosts.for("a"))],
      [999_999, sizeAt(hosts, seen)],
      [1_999_999, sizeAt(hosts, seen)],
      [2_000_001, sizeAt(hosts, seen)]
    )
    expect(seen).toEqual([1, 1, 0])
  })

  it("is kept while it is paused, and the pause applies to every handle of the key", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const seen: Array<number> = []
    await log.play(
      [0, Effect.suspend(() => Meter.pause(hosts.for("a"), 500))],
      [100, sizeAt(hosts, seen)],
      [200, Effect.suspend(() => Meter.metered(log.task("a"), hosts.for("a")))],
      [300, Effect.suspend(() => Meter.metered(log.task("b"), hosts.for("b")))],
      [700, sizeAt(hosts, seen)]
    )
    expect(log.starts).toEqual(["b 300", "a 500"])
    expect(seen).toEqual([1, 0])
  })

  it("is kept while its limits differ from those of the others", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    await log.play(
      [0, Effect.suspend(() => Meter.resize(hosts.for("a"), { maxAtOnce: 3 }))],
      [10, Effect.sync(() => hosts.size)],
      [20, Effect.suspend(() => runOnEach(names(4, "a"), (name) => log.task(name, 10), { meter: hosts.for("a") }))],
      [20, Effect.suspend(() => runOnEach(names(2, "b"), (name) => log.task(name, 10), { meter: hosts.for("b") }))]
    )
    expect(log.starts).toEqual(["a0 20", "a1 20", "a2 20", "b0 20", "a3 30", "b1 30"])
  })

  it("of thousands of keys are dropped in passing: only keys in recent use are left", async () => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<number>({ maxAtOnce: 1, windows: { r: { limit: 1, per: 100 } } })
    let most = 0
    const use = Effect.forEach(range(5000), (key) =>
      Effect.andThen(
        Meter.metered(Effect.void, hosts.for(key)),
        Effect.sync(() => {
          if (key % 500 === 0) most = Math.max(most, hosts.size)
        }).pipe(Effect.andThen(Effect.sleep(1)))
      )
    )
    await log.play([0, use])
    expect(most).toBeLessThanOrEqual(101)
    expect(most).toBeGreaterThan(90)
    await log.world.value(Effect.sleep(100))
    expect(hosts.size).toBe(0)
  })
})

describe("several keys of a family at once", () => {
  it.each([
    ["named by a call", (a: Meter.Meter, b: Meter.Meter) => [a, b]],
    ["as one meter", (a: Meter.Meter, b: Meter.Meter) => Meter.all(a, b)]
  ])("%s: each of them is held", async (_, of) => {
    const log = new Log()
    const hosts = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
    const one = (key: string) => Meter.metered(log.task(key), hosts.for(key))
    const both = runOnEach(["both"], (name) => log.task(name, 100), { meter: of(hosts.for("a"), hosts.for("b")) })
    await log.play([0, both], [10, one("a")], [20, one("b")])
    expect(log.starts.toSorted()).toEqual(["a 100", "b 100", "both 0"])
    log.expectRest()
  })
})
