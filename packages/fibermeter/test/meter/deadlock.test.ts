/** Tasks that wait for a meter of which they hold a permit: they fail at once, and nothing else does. */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, FiberSet, Option, Schedule, Semaphore, Stream } from "effect"
import { amap, Meter, runOnEach } from "../../src/index.ts"
import { defectOf, Log, names } from "../support/Log.ts"
import { range } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"

const atOnce = (maxAtOnce: number) => Meter.makeUnsafe({ maxAtOnce })

/** Every way to hold a permit of a meter and run something inside. */
const ways: ReadonlyArray<{
  readonly name: string
  readonly run: <A, E>(effect: Effect.Effect<A, E>, meter: Meter.Meter) => Effect.Effect<unknown, unknown>
}> = [
  { name: "metered", run: (effect, meter) => Meter.metered(effect, meter) },
  ...verbs.map(({ name, run }) => ({
    name,
    run: <A, E>(effect: Effect.Effect<A, E>, meter: Meter.Meter) => run([0], () => effect, { meter })
  }))
]

/** Those whose caller waits until all is over: a stream's reader may be doing something else. */
const awaited = ways.filter(({ name }) => !name.startsWith("amap"))

describe("a deadlock", () => {
  describe.each(ways)("of a task in $name", (outer) => {
    it.each(awaited)("that waits in $name for the only permit, which it holds itself, fails at once", async (inner) => {
      const log = new Log()
      const meter = atOnce(1)
      const nested = log.named("inner", inner.run(log.task("never"), meter))
      await log.play([0, outer.run(log.around("outer", Effect.andThen(Effect.sleep(10), nested)), meter)])
      expect(log.starts).toEqual(["outer 0"])
      expect(log.ends).toEqual(["inner 10"])
      const defect = defectOf(log.exit("inner"))
      expect(defect).toBeInstanceOf(Meter.Deadlock)
      expect(defect).toMatchObject({ _tag: "Deadlock", held: 1 })
      log.expectRest()
    })
  })

  it("has a message with its cause and the remedy", () => {
    expect(new Meter.Deadlock({ held: 1 }).message).toBe(
      "the only permit of a meter is held by a task that waits for that same meter. " +
        "Run what is inside without the meter, give it a meter of its own, or raise the limit"
    )
    expect(new Meter.Deadlock({ held: 4 }).message).toContain(
      "all 4 permits of a meter are held by tasks that wait for that same meter. "
    )
  })

  it("is not seen in a run that was admitted and waits again while its wait is being noted", async () => {
    const [first, third] = [atOnce(1), atOnce(3)]
    const log = new Log()
    // What ends the first task's wait is the second one, which raises the limit as soon as it is noted.
    const inside = runOnEach(names(2), (name) => (name === "t0" ? Effect.sleep(40) : Effect.void), {
      meter: [third, first]
    })
    await log.play(
      [0, Meter.metered(Effect.sleep(20), first)],
      [5, Meter.metered(Effect.andThen(inside, Effect.sleep(100)), third)],
      [15, Meter.resize(third, { maxAtOnce: 2 })],
      [80, log.named("nested", Meter.metered(Meter.metered(log.task("in"), third), third))]
    )
    expect(log.exit("nested")).toEqual(Exit.succeed("in"))
    log.expectRest()
  })

  it("of n tasks that all wait: the newest wait fails, so that the others continue", async () => {
    const log = new Log()
    const meter = atOnce(3)
    const one = (name: string, after: number) =>
      log.named(
        name,
        Meter.metered(
          log.around(name, Effect.andThen(Effect.sleep(after), Meter.metered(log.task(`in ${name}`, 10), meter))),
          meter
        )
      )
    await log.play([0, one("a", 10)], [0, one("b", 30)], [0, one("c", 20)])
    expect(log.starts).toEqual(["a 0", "b 0", "c 0", "in a 30", "in c 40"])
    expect(log.ends).toEqual(["b 30", "a 40", "c 50"])
    expect(defectOf(log.exit("b"))).toMatchObject({ _tag: "Deadlock", held: 3 })
    expect(log.exit("a")).toEqual(Exit.succeed("in a"))
    expect(log.exit("c")).toEqual(Exit.succeed("in c"))
    log.expectRest()
  })

  it("of one call's own tasks, each of which calls again", async () => {
    const log = new Log()
    const meter = atOnce(4)
    const nested = (name: string) =>
      log.around(
        name,
        Effect.exit(
          Effect.andThen(
            Effect.sleep(5),
            runOnEach(names(2, `${name}.`), (each) => log.task(each, 5), { meter })
          )
        )
      )
    let dead = 0
    const call = runOnEach(
      names(9),
      (name) => Effect.map(nested(name), (exit) => (dead += defectOf(exit) === undefined ? 0 : 1)),
      {
        meter
      }
    )
    await log.play([0, log.named("call", call)])
    expect(log.exit("call")).toEqual(Exit.void)
    expect(dead).toBeGreaterThan(0)
    log.expectRest()
  })

  it("through another meter in between", async () => {
    const log = new Log()
    const meter = atOnce(1)
    const between = atOnce(1)
    const inner = log.named("inner", Meter.metered(log.task("never"), meter))
    await log.play([0, Meter.metered(Meter.metered(log.around("between", inner), between), meter)])
    expect(log.ends).toEqual(["inner 0"])
    expect(defectOf(log.exit("inner"))).toBeInstanceOf(Meter.Deadlock)
  })

  it("of nested tasks that hold all permits together", async () => {
    const log = new Log()
    const meter = atOnce(2)
    const inner = log.named("inner", Meter.metered(log.task("never"), meter))
    await log.play([0, Effect.timeoutOption(Meter.metered(Meter.metered(inner, meter), meter), "1 hour")])
    expect(log.ends).toEqual(["inner 0"])
    expect(defectOf(log.exit("inner"))).toMatchObject({ _tag: "Deadlock", held: 2 })
  })

  it("of a task that survives a deadlock and waits again", async () => {
    const log = new Log()
    const meter = atOnce(2)
    const impatient = Effect.timeoutOption(Meter.metered(log.task("never"), meter), 5)
    const twice = Effect.andThen(impatient, Meter.metered(log.task("y"), meter))
    const other = log.around("b", Effect.andThen(Effect.sleep(10), Meter.metered(log.task("in b"), meter)))
    await log.play([0, log.named("b", Meter.metered(other, meter))], [0, Meter.metered(twice, meter)])
    expect(log.starts).toEqual(["b 0", "y 10"])
    expect(defectOf(log.exit("b"))).toMatchObject({ _tag: "Deadlock", held: 2 })
  })

  it("of a meter inside an all, whichever it is", async () => {
    for (const order of [0, 1]) {
      const log = new Log()
      const meters = [atOnce(1), atOnce(5)] as const
      const meter = meters[order]!
      const both = Meter.all(...meters)
      const body = order === 0 ? 1 : 5
      const nested = (n: number) =>
        Meter.metered(
          Effect.andThen(Effect.sleep(1), log.named(`inner ${n}`, Meter.metered(log.task("never"), both))),
          meter
        )
      await log.play([
        0,
        Effect.timeoutOption(Effect.forEach(range(body), nested, { concurrency: "unbounded" }), "1 hour")
      ])
      // Of the waiters, the newest fails.
      expect(log.ends[0]).toBe(`inner ${body - 1} 1`)
      expect(defectOf(log.exit(`inner ${body - 1}`))).toBeInstanceOf(Meter.Deadlock)
      expect((await log.world.value(Meter.snapshot(meter))).running).toBe(0)
    }
  })

  it("of a meter of a semaphore", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play([0, Meter.metered(log.named("inner", Meter.metered(log.task("never"), meter)), meter)])
    expect(log.ends).toEqual(["inner 0"])
    expect(defectOf(log.exit("inner"))).toBeInstanceOf(Meter.Deadlock)
    expect(await log.world.value(semaphore.takeIfAvailable(1))).toBe(true)
    log.expectRest()
  })

  it("of a request for several meters, at whichever of them it waits", async () => {
    for (const order of [0, 1]) {
      const log = new Log()
      const made = [atOnce(1), atOnce(1)] as const
      const [held, busy] = order === 0 ? made : (made.toReversed() as [Meter.Meter, Meter.Meter])
      const both = Meter.all(held, busy)
      await log.play(
        [0, Meter.metered(log.task("busy", 100), busy)],
        [10, Effect.exit(Meter.metered(log.task("earlier"), both)).pipe(Effect.delay(10))],
        [
          10,
          Meter.metered(
            Effect.andThen(Effect.sleep(20), log.named("inner", Meter.metered(log.task("never"), both))),
            held
          )
        ]
      )
      // Nothing can ever give back the permit of `held`, so it makes no difference that `busy` is waited for.
      expect(log.ends).toEqual(["inner 30"])
      expect(log.starts).toEqual(["busy 0", "earlier 100"])
      expect(defectOf(log.exit("inner"))).toMatchObject({ _tag: "Deadlock", held: 1 })
      log.expectRest()
    }
  })

  it("of starts taken by hand inside a task", async () => {
    const log = new Log()
    const meter = atOnce(1)
    await log.play([0, Meter.metered(log.named("inner", Effect.scoped(Meter.acquire(meter))), meter)])
    expect(log.ends).toEqual(["inner 0"])
    expect(defectOf(log.exit("inner"))).toBeInstanceOf(Meter.Deadlock)
  })

  it("can be survived: the task that catches it continues, and its meter has lost nothing", async () => {
    const log = new Log()
    const meter = atOnce(1)
    const body = Effect.exit(Meter.metered(log.task("never"), meter))
    await log.play([
      0,
      runOnEach(names(3), (name) => log.around(name, Effect.andThen(body, Effect.sleep(10))), { meter })
    ])
    expect(log.starts).toEqual(["t0 0", "t1 10", "t2 20"])
    expect((await log.world.value(Meter.snapshot(meter))).free).toBe(1)
  })

  it("that is caused by fewer permits fails a waiter, too", async () => {
    const log = new Log()
    const meter = atOnce(3)
    const nesting = (name: string) =>
      log.named(
        name,
        Meter.metered(
          log.around(name, Effect.andThen(Effect.sleep(10), Meter.metered(log.task(`in ${name}`), meter))),
          meter
        )
      )
    await log.play(
      [0, Effect.timeoutOption(nesting("a"), "1 hour")],
      [0, Effect.timeoutOption(nesting("b"), "1 hour")],
      [0, Meter.metered(log.task("plain", 100), meter)],
      [20, Meter.resize(meter, { maxAtOnce: 2 })]
    )
    expect(log.ends.every((end) => end.endsWith(" 100"))).toBe(true)
    expect(log.ends.length).toBe(2)
    const dead = ["a", "b"].filter((name) => defectOf(log.exit(name)) instanceof Meter.Deadlock)
    expect(dead.length).toBe(1)
  })

  it("that is caused by fewer permits does not fail a fiber that has outlived its task", async () => {
    const log = new Log()
    const meter = atOnce(3)
    const waits = (name: string) =>
      log.named(name, Meter.metered(Effect.andThen(Effect.sleep(10), Meter.metered(log.task("never"), meter)), meter))
    const left = Effect.forkDetach(Effect.delay(log.named("left", Meter.metered(log.task("left"), meter)), 15))
    await log.play(
      [0, Meter.metered(left, meter)],
      [1, waits("a")],
      [2, waits("b")],
      [3, Meter.metered(log.task("plain", 97), meter)],
      [20, Meter.resize(meter, { maxAtOnce: 1 })]
    )
    expect(log.starts).toEqual(["plain 3", "left 100"])
    expect(log.exit("left")).toEqual(Exit.succeed("left"))
    // One after the other: it holds one of two permits, and then the only one.
    expect(defectOf(log.exit("b"))).toMatchObject({ _tag: "Deadlock", held: 2 })
    expect(defectOf(log.exit("a"))).toMatchObject({ _tag: "Deadlock", held: 1 })
  })
})

describe("no deadlock", () => {
  const nested = (log: Log, meter: Meter.Meter, name: string, after = 0) =>
    log.named(
      name,
      Meter.metered(
        log.around(name, Effect.andThen(Effect.sleep(after), Meter.metered(log.task(`in ${name}`, 10), meter))),
        meter
      )
    )

  it("while a task that holds a permit can still continue", async () => {
    const log = new Log()
    const meter = atOnce(3)
    await log.play(
      [0, nested(log, meter, "a")],
      [0, nested(log, meter, "b")],
      [0, Meter.metered(log.task("plain", 100), meter)]
    )
    expect(log.starts).toEqual(["a 0", "b 0", "plain 0", "in a 100", "in b 110"])
    expect([log.exit("a"), log.exit("b")]).toEqual([Exit.succeed("in a"), Exit.succeed("in b")])
  })

  it("while an acquired start holds the other permit: it is not known to wait for anything", async () => {
    const log = new Log()
    const meter = atOnce(2)
    await log.play(
      [0, Effect.scoped(Effect.andThen(Meter.acquire(meter), Effect.sleep(50)))],
      [1, nested(log, meter, "a")]
    )
    expect(log.starts).toEqual(["a 1", "in a 50"])
  })

  it("where only the rate holds, or a window, or a pause", async () => {
    for (const [limits, starts] of [
      [{ maxPerSecond: 10 }, ["a 0", "b 100", "in a 200", "in b 300"]],
      [{ windows: { r: { limit: 1, per: 100 } } }, ["a 0", "b 100", "in a 200", "in b 300"]],
      [{ maxAtOnce: 3, maxPerSecond: 10 }, ["a 0", "b 100", "in a 200", "in b 300"]]
    ] as ReadonlyArray<readonly [Meter.Limits, ReadonlyArray<string>]>) {
      const log = new Log()
      const meter = Meter.makeUnsafe(limits)
      await log.play([0, nested(log, meter, "a")], [0, nested(log, meter, "b")])
      expect(log.starts).toEqual(starts)
    }
    const log = new Log()
    const meter = atOnce(2)
    await log.play([0, nested(log, meter, "a", 10)], [5, Meter.pause(meter, 95)])
    expect(log.starts).toEqual(["a 0", "in a 100"])
  })

  it("where the nested call uses another meter, or no meter but limits of its own", async () => {
    const log = new Log()
    const meter = atOnce(1)
    const other = atOnce(1)
    const body = runOnEach(names(2), (name) => Meter.metered(log.task(name, 10), other), { maxAtOnce: 1 })
    await log.play([0, runOnEach([1, 2], () => body, { meter })])
    expect(log.starts).toEqual(["t0 0", "t1 10", "t0 20", "t1 30"])
  })

  it("when the waiter has been interrupted", async () => {
    const log = new Log()
    const meter = atOnce(2)
    const impatient = Effect.andThen(
      Effect.timeoutOption(Meter.metered(log.task("never"), meter), 20),
      Effect.sleep(100)
    )
    await log.play(
      [0, Meter.metered(Effect.andThen(Effect.sleep(10), impatient), meter)],
      [0, nested(log, meter, "b", 50)]
    )
    expect(log.starts).toEqual(["b 0", "in b 130"])
    expect(log.exit("b")).toEqual(Exit.succeed("in b"))
  })

  it("a task that waits twice still holds only one permit", async () => {
    const log = new Log()
    const meter = atOnce(2)
    const twice = Effect.all([Meter.metered(log.task("x", 5), meter), Meter.metered(log.task("y", 5), meter)], {
      concurrency: 2
    })
    await log.play(
      [0, Meter.metered(Effect.andThen(Effect.sleep(1), twice), meter)],
      [0, Meter.metered(log.task("plain", 30), meter)]
    )
    expect(log.starts).toEqual(["plain 0", "x 30", "y 35"])
  })

  it.each(ways)(
    "when a task has ended in $name: a fiber that outlives it is not part of a deadlock",
    async ({ run }) => {
      const log = new Log()
      const meter = atOnce(1)
      const leaving = Effect.forkDetach(Effect.delay(log.named("left", Meter.metered(log.task("left", 5), meter)), 20))
      await log.play([0, run(leaving, meter)], [10, Meter.metered(log.task("plain", 50), meter)], [200, Effect.void])
      expect(log.starts).toEqual(["plain 10", "left 60"])
      expect(log.exit("left")).toEqual(Exit.succeed("left"))
    }
  )

  it.each(ways)(
    "of a task that has ended in $name while a fiber that outlives it waits, but of others",
    async (way) => {
      const log = new Log()
      const meter = atOnce(2)
      const left = Effect.forkDetach(Meter.metered(log.task("left", 5), meter))
      await log.play(
        [0, Meter.metered(log.task("plain", 100), meter)],
        [0, way.run(Effect.andThen(left, Effect.sleep(10)), meter)],
        [20, nested(log, meter, "a")],
        [200, nested(log, meter, "b", 5)],
        [200, Effect.timeoutOption(nested(log, meter, "c", 5), "1 hour")]
      )
      expect(log.starts).toEqual(["plain 0", "left 10", "a 20", "in a 100", "b 200", "c 200", "in b 205"])
      expect(defectOf(log.exit("c"))).toBeInstanceOf(Meter.Deadlock)
    }
  )

  it("when a task has only forked a child, which waits on its own account", async () => {
    const log = new Log()
    const meter = atOnce(1)
    const child = Effect.forkChild(log.named("child", Meter.metered(log.task("child"), meter)))
    const outer = log.named("outer", Meter.metered(Effect.andThen(child, Effect.sleep(50)), meter))
    await log.play([0, outer], [60, log.named("next", Meter.metered(log.task("next"), meter))])
    // It is a child of the fiber, which has released its permit by then.
    expect(log.starts).toEqual(["child 50", "next 60"])
    expect(log.exit("outer")).toEqual(Exit.void)
  })

  it("of a job that a task has left to another scope: it starts when the task has ended", async () => {
    const log = new Log()
    const meter = atOnce(1)
    const job = (name: string) => log.named(name, Meter.metered(log.task(name, 10), meter))
    const outer = Effect.gen(function* () {
      const jobs = yield* FiberSet.make()
      const scope = yield* Effect.scope
      const task = Effect.gen(function* () {
        yield* FiberSet.run(jobs, job("in a set"))
        yield* Effect.forkIn(job("in a scope"), scope)
        yield* Effect.forkDetach(job("detached"))
        yield* Effect.sleep(50)
      })
      yield* Meter.metered(task, meter)
      yield* Effect.sleep(100)
    })
    await log.play([0, log.named("outer", Effect.scoped(outer))])
    expect(log.starts).toEqual(["in a set 50", "in a scope 60", "detached 70"])
    expect(log.exit("outer")).toEqual(Exit.void)
    for (const name of ["in a set", "in a scope", "detached"]) expect(log.exit(name)).toEqual(Exit.succeed(name))
    log.expectRest()
  })

  it.each(ways)("of a wait in $name that times out: the task continues without it", async ({ run }) => {
    const log = new Log()
    const meter = atOnce(1)
    const inner = Effect.timeoutOption(run(log.task("never"), meter), 20)
    await log.play([0, log.named("outer", Meter.metered(inner, meter))])
    expect(log.starts).toEqual([])
    expect(log.ends).toEqual(["outer 20"])
    expect(log.exit("outer")).toEqual(Exit.succeed(Option.none()))
    log.expectRest()
  })

  it("of concurrent effects in a task, one of which fails and so ends the wait of the other", async () => {
    const log = new Log()
    const meter = atOnce(1)
    const fails = Effect.andThen(Effect.sleep(20), Effect.fail("no"))
    const body = Effect.all([Meter.metered(log.task("never"), meter), fails], { concurrency: 2 })
    const nested = runOnEach([0, 1], (n) => (n === 0 ? Meter.metered(log.task("never"), meter) : fails))
    await log.play(
      [0, log.named("all", Meter.metered(body, meter))],
      [50, log.named("verb", Meter.metered(nested, meter))]
    )
    expect(log.starts).toEqual([])
    expect(log.ends).toEqual(["all 20", "verb 70"])
    expect([log.exit("all"), log.exit("verb")]).toEqual([Exit.fail("no"), Exit.fail("no")])
    log.expectRest()
  })

  it("of a stream whose reader is busy with what it has read", async () => {
    const log = new Log()
    const meter = atOnce(2)
    const stream = amap(names(2), (name) => log.task(name, 5), { meter })
    const reads = Stream.runForEach(Stream.take(stream, 1), () => Effect.sleep(50))
    const nesting = Effect.andThen(Effect.sleep(5), Meter.metered(log.task("in b"), meter))
    await log.play([0, log.named("a", Meter.metered(reads, meter))], [1, log.named("b", Meter.metered(nesting, meter))])
    expect([log.exit("a"), log.exit("b")]).toEqual([Exit.void, Exit.succeed("in b")])
    log.expectRest()
  })

  it("in deep nesting, as long as there are permits", async () => {
    const log = new Log()
    const meter = atOnce(6)
    const deep = (level: number): Effect.Effect<void> =>
      level === 6 ? Effect.void : Meter.metered(Effect.andThen(log.task(`level ${level}`, 1), deep(level + 1)), meter)
    await log.play([0, deep(0)])
    expect(log.starts).toEqual(range(6).map((level) => `level ${level} ${level}`))
  })

  it("for waiters outside while a task inside fails by a deadlock", async () => {
    const log = new Log()
    const meter = atOnce(1)
    const outer = Meter.metered(
      log.around("outer", Effect.andThen(Effect.sleep(20), Meter.metered(log.task("never"), meter))),
      meter
    )
    await log.play(
      [0, log.named("outer", outer)],
      [10, log.named("outside", Meter.metered(log.task("outside"), meter))]
    )
    expect(defectOf(log.exit("outer"))).toBeInstanceOf(Meter.Deadlock)
    expect(log.starts).toEqual(["outer 0", "outside 20"])
  })

  it("is left by interruptions: afterwards the number of waiters is right", async () => {
    const log = new Log()
    const meter = atOnce(2)
    const waits = (name: string) =>
      Meter.metered(Effect.andThen(Effect.sleep(5), Meter.metered(log.task(name), meter)), meter)
    await log.play(
      [0, Meter.metered(Effect.sleep(60), meter)],
      ...range(5).map(
        (n) =>
          [
            n * 10,
            Effect.gen(function* () {
              const fiber = yield* Effect.forkChild(waits("never"))
              yield* Effect.sleep(8)
              yield* Fiber.interrupt(fiber)
            })
          ] as const
      ),
      [70, nested(log, meter, "a")],
      [70, Meter.metered(log.task("plain", 30), meter)]
    )
    expect(log.starts).toEqual(["a 70", "plain 70", "in a 100"])
  })

  it("while one of the waiters is being admitted", async () => {
    const log = new Log()
    const meter = atOnce(3)
    // What it does at a start is done while the start is being taken: being younger, it is asked before the other.
    const lowering = Meter.fromSchedule(
      Schedule.fromStep(
        Effect.succeed(() =>
          Effect.as(Meter.resize(meter, { maxAtOnce: 2 }), ["", Duration.zero] as [string, Duration.Duration])
        )
      )
    )
    const inner = Meter.metered(log.task("in a", 10), Meter.all(meter, lowering))
    await log.play(
      [0, Meter.metered(Effect.andThen(Effect.sleep(5), inner), meter)],
      [0, nested(log, meter, "b", 10)],
      [0, Meter.metered(log.task("plain", 30), meter)]
    )
    expect(log.starts).toEqual(["b 0", "plain 0", "in a 30", "in b 40"])
    expect(log.exit("b")).toEqual(Exit.succeed("in b"))
  })

  it("for a call that has come again in the step in which it was let pass: that it waits is counted once", async () => {
    const log = new Log()
    const program = atOnce(1)
    const meter = atOnce(2)
    const limiter = Meter.makeUnsafe({})
    const both = Meter.all(program, meter)
    const calls = runOnEach(names(2), (name) => log.task(name, 10), { meter: [limiter, meter] })
    await log.play(
      [0, Meter.pause(limiter, 10)],
      [0, Meter.metered(Effect.andThen(calls, Effect.sleep(70)), both)],
      // Waits for what the first task holds, and is passed by what runs inside of that.
      [5, Effect.timeoutOption(Meter.metered(log.task("never"), both), 20)],
      [40, nested(log, meter, "a")]
    )
    // The first task has ceased to wait when the other one begins to.
    expect(log.starts).toEqual(["t0 10", "t1 20", "a 40", "in a 100"])
    expect(log.exit("a")).toEqual(Exit.succeed("in a"))
  })
})
