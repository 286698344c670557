/** `permits`: a task that holds several permits of `maxAtOnce`. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Semaphore, Stream } from "effect"
import fc from "fast-check"
import type { runtime } from "../../src/engine.ts"
import { admission } from "../../src/engine.ts"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"
import { defectOf, errorOf, Log } from "../support/Log.ts"

const tooMany = (permits: number, limit: number) => new Meter.ExcessivePermits({ permits, limit })

describe("permits", () => {
  it("are taken and released together", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 5 })
    const run = (name: string, permits: number, millis: number) =>
      Meter.metered(log.task(name, millis), meter, { permits })
    const snapshots: Array<unknown> = []
    const snapshot = Effect.map(Meter.snapshot(meter), ({ free, running, waiting }) =>
      snapshots.push([free, running, waiting])
    )
    await log.play(
      [0, run("a", 3, 10)],
      [0, run("b", 2, 20)],
      [1, run("c", 4, 5)],
      [2, snapshot],
      [11, snapshot],
      [21, snapshot]
    )
    expect(log.starts).toEqual(["a 0", "b 0", "c 20"])
    expect(snapshots).toEqual([
      [0, 2, 1],
      [3, 1, 1],
      [1, 1, 0]
    ])
    log.expectRest()
  })

  it("are released by every ending", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 3 })
    const of = <A, E>(effect: Effect.Effect<A, E>) => Effect.exit(Meter.metered(effect, meter, { permits: 3 }))
    await log.play(
      [0, of(Effect.fail("x"))],
      [0, of(Effect.die("x"))],
      [0, of(Effect.timeoutOption(Effect.never, 5))],
      [0, Effect.timeoutOption(Effect.scoped(Effect.andThen(Meter.acquire(meter, { permits: 2 }), Effect.never)), 9)],
      [10, Meter.metered(log.task("last"), meter, { permits: 3 })]
    )
    expect(log.starts).toEqual(["last 10"])
    expect((await log.world.value(Meter.snapshot(meter))).free).toBe(3)
    log.expectRest()
  })

  it.each([
    ["metered", (meter: Meter.Meter) => Meter.metered(Effect.void, meter, { permits: 4 })],
    ["metered in a pipe", (meter: Meter.Meter) => Effect.void.pipe(Meter.metered(meter, { permits: 4 }))],
    ["acquire", (meter: Meter.Meter) => Effect.scoped(Meter.acquire(meter, { permits: 4 }))],
    ["runOnEach", (meter: Meter.Meter) => runOnEach([1], () => Effect.void, { meter, permits: 4 })],
    ["runAll", (meter: Meter.Meter) => runAll([Effect.void], { meter, permits: 4 })],
    ["runAny", (meter: Meter.Meter) => runAny([Effect.void], { meter, permits: 4 })]
  ])("that %s could never get fail at once", async (_, call) => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 3 })
    await log.play([0, Meter.metered(log.task("a", 10), meter)], [5, log.named("b", call(meter))])
    expect(log.ends).toEqual(["b 5"])
    expect(errorOf(log.exit("b"))).toEqual(tooMany(4, 3))
    expect(errorOf(log.exit("b"))).toHaveProperty("message", "a task needs 4 permits, but there are 3 in all")
    log.expectRest()
  })

  it("beyond a call's own maxAtOnce fail at once", async () => {
    const log = new Log()
    const task = () => log.task("never")
    await log.play([0, log.named("a", runOnEach([1], task, { maxAtOnce: 3, permits: 4 }))])
    expect(errorOf(log.exit("a"))).toEqual(tooMany(4, 3))
    expect(log.starts).toEqual([])
    log.expectRest()
  })

  it("that a waiter needs, and resize takes away, make it fail at once", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 5 })
    const run = (name: string, permits: number) =>
      log.named(name, Meter.metered(log.task(name, 10), meter, { permits }))
    await log.play([0, run("a", 1)], [1, run("b", 5)], [1.5, run("c", 2)], [1.8, Meter.resize(meter, { maxAtOnce: 4 })])
    expect(log.starts).toEqual(["a 0", "c 1.8"])
    expect(errorOf(log.exit("b"))).toEqual(tooMany(5, 4))
    expect(log.ends).toEqual(["b 1.8", "a 10", "c 11.8"])
    log.expectRest()
  })

  it.each([
    { where: "of one meter", others: () => [] },
    { where: "of two meters", others: () => [Meter.makeUnsafe({ maxAtOnce: 100 })] }
  ])("that a later waiter $where needs, and resize takes away, make it fail at once", async ({ others }) => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 5 })
    const all = Meter.all(meter, ...others())
    const run = (name: string, permits: number) => log.named(name, Meter.metered(log.task(name, 10), all, { permits }))
    await log.play([0, run("a", 5)], [1, run("b", 1)], [2, run("c", 5)], [3, Meter.resize(meter, { maxAtOnce: 4 })])
    expect(errorOf(log.exit("c"))).toEqual(tooMany(5, 4))
    expect(log.ends).toEqual(["c 3", "a 10", "b 20"])
    log.expectRest()
  })

  it("of a verb divide its own limit and its meter's", async () => {
    const own = new Log()
    await own.play([0, runOnEach([0, 1, 2, 3], (n) => own.task(`t${n}`, 10), { maxAtOnce: 5, permits: 2 })])
    expect(own.starts).toEqual(["t0 0", "t1 0", "t2 10", "t3 10"])
    own.expectRest()
    const shared = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 5 })
    await shared.play([0, runOnEach([0, 1, 2, 3], (n) => shared.task(`t${n}`, 10), { meter, permits: 2 })])
    expect(shared.starts).toEqual(["t0 0", "t1 0", "t2 10", "t3 10"])
    shared.expectRest()
  })

  it("count for the default of maxUnread: twice as many tasks as may run at once", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 5 })
    const items = [0, 1, 2, 3, 4, 5]
    const first = amap(items, (n) => log.task(`t${n}`), { meter, permits: 2 })
    const second = amap(items, (n) => log.task(`u${n}`), { maxAtOnce: 5, permits: 2 })
    for (const results of [first, second]) {
      const reading = Effect.scoped(
        Effect.gen(function* () {
          const pull = yield* Stream.toPull(results)
          yield* pull
          yield* Effect.sleep(5)
        })
      )
      await log.play([0, reading])
    }
    expect(log.starts.filter((each) => each.startsWith("t"))).toEqual(["t0 0", "t1 0", "t2 0", "t3 0", "t4 0"])
    expect(log.starts.filter((each) => each.startsWith("u")).length).toBe(5)
    log.expectRest()
  })

  it("of a semaphore are taken together, beside those of other code", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(5)
    const meter = Meter.fromSemaphore(semaphore)
    const run = (name: string, permits: number) => Meter.metered(log.task(name, 10), meter, { permits })
    await log.play(
      [0, semaphore.withPermits(2)(Effect.sleep(5))],
      [1, run("a", 4)],
      [2, log.named("b", run("b", 6))],
      [3, run("c", 1)],
      [16, run("d", 5)]
    )
    // c waits behind a: which permits are free, a semaphore does not say.
    expect(log.starts).toEqual(["a 5", "c 5", "d 16"])
    expect(errorOf(log.exit("b"))).toEqual(tooMany(6, 5))
    log.expectRest()
  })

  it("of a semaphore are never more than it has, whichever waiters need another meter and however many, and all come back", async () => {
    const kinds = [1, 2].flatMap((permits) => ["semaphore", "both", "both, in a verb"].map((at) => ({ at, permits })))
    const pairs = kinds.flatMap((a) => kinds.map((b) => [a, b]))
    for (const three of pairs.flatMap((pair) => kinds.map((c) => [...pair, c]))) {
      const log = new Log()
      const semaphore = Semaphore.makeUnsafe(2)
      const alone = Meter.fromSemaphore(semaphore)
      const both = Meter.all(Meter.makeUnsafe({ maxAtOnce: 2 }), alone)
      let [inUse, most] = [0, 0]
      const use = (permits: number) =>
        Effect.suspend(() => {
          most = Math.max(most, (inUse += permits))
          return Effect.ensuring(
            Effect.sleep(10),
            Effect.sync(() => (inUse -= permits))
          )
        })
      const call = ({ at, permits }: { at: string; permits: number }) => {
        if (at === "semaphore") return Meter.metered(use(permits), alone, { permits })
        if (at === "both") return Meter.metered(use(permits), both, { permits })
        return runOnEach([1, 2, 3], () => use(permits), { meter: both, permits })
      }
      await log.play(...three.map((each) => [0, call(each)] as const), [
        100,
        semaphore.withPermits(2)(log.task("rest"))
      ])
      const name = three.map(({ at, permits }) => `${permits} of ${at}`).join(" · ")
      expect(most, name).toBeLessThanOrEqual(2)
      expect(log.starts, name).toEqual(["rest 100"])
      log.expectRest()
    }
  })

  it("of a semaphore are not taken for an interrupted waiter: the next may need fewer", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(2)
    const meter = Meter.fromSemaphore(semaphore)
    const run = (name: string, permits: number) => Meter.metered(log.task(name, 10), meter, { permits })
    await log.play(
      [0, semaphore.withPermits(2)(Effect.sleep(50))],
      [1, Effect.timeoutOption(run("large", 2), 10)],
      [2, run("small", 1)],
      [60, semaphore.withPermits(2)(log.task("other code"))]
    )
    expect(log.starts).toEqual(["small 50", "other code 60"])
    log.expectRest()
  })

  it("of a semaphore of none are waited for", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(0)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play([0, Meter.metered(log.task("a"), meter)], [5, semaphore.resize(1)])
    expect(log.starts).toEqual(["a 5"])
    log.expectRest()
  })
})

describe("a large request", () => {
  const meter = () => Meter.makeUnsafe({ maxAtOnce: 5 })

  it("is not overtaken for a millisecond, and after each end for half as long as it has been first", async () => {
    const log = new Log()
    const five = meter()
    const run = (name: string, permits: number, millis: number) =>
      Meter.metered(log.task(name, millis), five, { permits })
    await log.play(
      [0, run("a", 2, 10)],
      [0, run("b", 2, 30)],
      [1, run("large", 4, 10)],
      [1, run("small", 1, 40)],
      // At 10, a has ended: two permits are kept until 14.5, half of the 9 ms more.
      [11, run("late", 1, 5)],
      [15, run("later", 1, 1)]
    )
    expect(log.starts).toEqual(["a 0", "b 0", "small 2", "late 14.5", "later 15", "large 30"])
    log.expectRest()
  })

  it("does not starve in a flood of small ones", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 8 }),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 30, maxLength: 60 }),
        async (permits, lasts) => {
          const log = new Log()
          const meter = Meter.makeUnsafe({ maxAtOnce: 8 })
          const flood = lasts.map((millis, n) => [n, Meter.metered(log.task(`s${n}`, millis), meter)] as const)
          await log.play(...flood, [4, Meter.metered(log.task("large", 1), meter, { permits })])
          const [, at] = log.starts.find((each) => each.startsWith("large"))!.split(" ")
          // No time between two ends is longer than 20 ms.
          expect(Number(at) - 4).toBeLessThanOrEqual((2 + permits) * 20)
          log.expectRest()
        }
      ),
      { numRuns: 40 }
    )
  })

  it("does not let a nested call hang that needs no more than the free permits", async () => {
    const log = new Log()
    const five = meter()
    const nested = Meter.metered(log.task("inner", 1), five)
    await log.play(
      [0, Meter.metered(log.around("outer", Effect.andThen(Effect.sleep(10), nested)), five, { permits: 3 })],
      [5, Meter.metered(log.task("large", 1), five, { permits: 3 })]
    )
    expect(log.starts).toEqual(["outer 0", "inner 10", "large 11"])
    log.expectRest()
  })

  it.each([
    ["with as many permits as the other", 1, false],
    ["with fewer", 2, false],
    ["with fewer, where it waits behind the large request", 2, true],
    ["with one, where it waits behind the large request", 1, true]
  ])("does not let a nested call for several meters hang: %s", async (_, permits, isOlder) => {
    const log = new Log()
    // Waiters stand at the younger meter, if it is closed.
    const first = meter()
    const second = meter()
    const [five, other] = isOlder ? [second, first] : [first, second]
    const both = Meter.all(five, other)
    const nested = Meter.metered(log.task("inner", 1), both, { permits })
    await log.play(
      [0, Meter.metered(log.around("outer", Effect.andThen(Effect.sleep(10), nested)), five, { permits: 3 })],
      [5, Meter.metered(log.task("large", 1), both, { permits: 3 })],
      [6, Meter.metered(log.task("larger", 1), five, { permits: 4 })],
      [9, Meter.metered(log.task("other", 5), other, { permits: 5 })],
      [10, Meter.metered(log.task("too large", 1), both, { permits: 4 })],
      [13, Meter.metered(log.task("late", 1), five, { permits: 2 })]
    )
    expect(log.starts.slice(0, 3)).toEqual(["outer 0", "other 9", "late 13"])
    // At 14, a task has ended: the free permits are kept for half of the 9 ms more.
    expect(log.starts.slice(3)).toEqual(["inner 18.5", "large 19.5", "larger 20.5", "too large 21.5"])
    log.expectRest()
  })

  it("is a deadlock where the task waits for more than the free permits and nothing else runs", async () => {
    const log = new Log()
    const five = meter()
    const nested = (permits: number) => Meter.metered(log.task("inner", 1), five, { permits })
    const outer = (name: string, permits: number) =>
      log.named(name, Meter.metered(Effect.andThen(Effect.sleep(1), nested(permits)), five, { permits: 3 }))
    await log.play([0, outer("a", 3)], [10, outer("b", 2)])
    expect(defectOf(log.exit("a"))).toEqual(new Meter.Deadlock({ held: 1 }))
    expect(log.exit("b")).toEqual(Exit.succeed("inner"))
    log.expectRest()
  })

  it("keeps the free permits as long after 52 days, when the limiter's time begins anew", async () => {
    const log = new Log()
    const five = Meter.makeUnsafe({ maxAtOnce: 5 })
    const run = (name: string, permits: number, millis: number) =>
      Meter.metered(log.task(name, millis), five, { permits })
    const first = [0, run("first", 4, 1)] as const
    const second = [0.5, run("second", 2, 1)] as const
    // 2^52 nanoseconds after the first wait. It comes between the second and the third of these.
    const at = 4_503_599_627 - 11
    await log.play(
      first,
      second,
      [at, run("a", 2, 10)],
      [at, run("b", 2, 30)],
      [at + 1, run("large", 4, 10)],
      [at + 11, run("late", 1, 5)]
    )
    const starts = log.starts.slice(2).map((each) => each.split(" "))
    expect(starts.map(([name, start]) => [name, Math.round((Number(start) - at) * 1000) / 1000])).toEqual([
      ["a", 0],
      ["b", 0],
      ["late", 14.5],
      ["large", 30]
    ])
    log.expectRest()
  })

  it("that is interrupted starts the waiters behind it", async () => {
    const log = new Log()
    const five = meter()
    const run = (name: string, permits: number, millis: number) =>
      Meter.metered(log.task(name, millis), five, { permits })
    await log.play(
      [0, run("a", 4, 10)],
      [1, Effect.timeoutOption(run("large", 5, 10), 0.5)],
      [1, run("b", 1, 2)],
      [20, run("c", 5, 1)]
    )
    expect(log.starts).toEqual(["a 0", "b 1.5", "c 20"])
    log.expectRest()
  })

  it("does not break the limit of a rate: smaller ones wait for their slots", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 5, maxPerSecond: 100 })
    const run = (name: string, permits: number, millis: number) =>
      Meter.metered(log.task(name, millis), meter, { permits })
    await log.play([0, run("a", 4, 50)], [1, run("large", 2, 1)], [1, run("b", 1, 1)], [1, run("c", 1, 1)])
    expect(log.starts).toEqual(["a 0", "b 10", "c 20", "large 50"])
    log.expectRest()
  })

  it("behind which smaller ones wait for a window does not delay them when it opens", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 5, windows: { w: { limit: 10, per: 1000 } } })
    const run = (name: string, permits: number, w: number) =>
      log.named(name, Meter.metered(log.task(name, 10), meter, { permits, cost: { w } }))
    await log.play([0, run("a", 4, 1)], [1, run("large", 2, 1)], [1, run("b", 1, 5)])
    expect(log.starts).toEqual(["a 0", "b 2", "large 10"])
    log.expectRest()
  })
})

describe("a request", () => {
  class Request extends admission.AdmissionRequest {
    readonly inside = undefined
    readonly cost = undefined
    readonly host: runtime.Host
    isImpossible = false
    outcome: string | undefined
    private readonly needs: number

    constructor(limiter: admission.Limiter, needs: number, host: runtime.Host) {
      super([limiter])
      this.needs = needs
      this.host = host
    }

    override get permits(): number {
      return this.needs
    }

    override objection(): admission.Refusal | undefined {
      return this.isImpossible ? { _tag: "Failure", cause: "too late" } : super.objection()
    }

    protected admitted(): void {
      this.outcome = "started"
    }

    protected refused(refusal: admission.Refusal): void {
      this.outcome = (refusal as { cause: string }).cause
    }
  }

  /** The fifth of five permits is free. The first waiter needs two, and its time is over. */
  const behindLarge = (host: runtime.Host, pass: () => void, large = host) => {
    const limiter = new admission.SharedLimiter({ maxAtOnce: 5 })
    expect(new Request(limiter, 4, host).requestStart()).toBe(true)
    const first = new Request(limiter, 2, large)
    first.requestStart()
    const smaller = [1, 1].map(() => new Request(limiter, 1, host))
    for (const each of smaller) each.requestStart()
    pass()
    return { limiter, first, smaller }
  }

  const host = (requests?: runtime.Requests) => {
    let now = 0n
    const clock: runtime.Clock = { monotonicTimeNanosUnsafe: () => now, currentTimeMillisUnsafe: () => 0 }
    const timer: runtime.Timer = { isLost: false, cancel: () => {} }
    const deferred: Array<() => void> = []
    const defer = (f: () => void): void => void deferred.push(f)
    const made: runtime.Host = { requests, clock, isLive: false, timersEra: 0, sleep: () => timer, defer }
    return { made, deferred, pass: () => (now += 1_000_000n) }
  }

  it("that has become impossible fails when it could start before the first one, which lacks permits", () => {
    const { made, pass } = host()
    const { first, limiter, smaller } = behindLarge(made, pass)
    smaller[0]!.isImpossible = true
    limiter.wake()
    expect([first, ...smaller].map(({ outcome }) => outcome)).toEqual([undefined, "too late", "started"])
  })

  it("yields to the event loop where very many start before the first one", () => {
    const { deferred, made, pass } = host()
    const limiter = new admission.SharedLimiter({ maxAtOnce: 50_000 })
    expect(new Request(limiter, 1, made).requestStart()).toBe(true)
    new Request(limiter, 50_000, made).requestStart()
    const smaller = Array.from({ length: 40_000 }, () => new Request(limiter, 1, made))
    for (const each of smaller) each.requestStart()
    const started = () => smaller.filter(({ outcome }) => outcome === "started").length
    pass()
    limiter.wake()
    expect(started()).toBeLessThan(40_000)
    while (deferred.length > 0) deferred.shift()!()
    expect(started()).toBe(40_000)
  })

  it("starts before a first one of another request of Workers, and is not started by another request", () => {
    const sent: Array<unknown> = []
    const elsewhere = new Set<object>()
    const { made, pass } = host({
      enter: () => {},
      wait: () => {},
      looksAgain: () => true,
      isHere: (key) => !elsewhere.has(key),
      send: () => {},
      sendWaiter: (waiter) => sent.push(waiter)
    })
    const { first, limiter, smaller } = behindLarge(made, pass)
    elsewhere.add(first)
    elsewhere.add(smaller[1]!)
    limiter.wake()
    expect([first, ...smaller].map(({ outcome }) => outcome)).toEqual([undefined, "started", undefined])
    // Only the first one is asked to continue, in its own request.
    expect(new Set(sent)).toEqual(new Set([first]))
    smaller[0]!.release()
    pass()
    elsewhere.delete(first)
    limiter.wake()
    expect(smaller[1]!.outcome).toBe(undefined)
  })
})

describe("interruption", () => {
  it("of any fiber at any step releases the permits that it holds", async () => {
    for (let step = 1; ; step++) {
      const log = new Log({ fine: true })
      const meter = Meter.makeUnsafe({ maxAtOnce: 5 })
      const run = (name: string, permits: number) => Meter.metered(log.task(name, 5), meter, { permits })
      const fiber = log.world.start(
        Effect.all([run("a", 3), run("b", 4), run("c", 1), run("d", 2)], { concurrency: "unbounded", discard: true })
      )
      let interrupted = false
      const exit = await log.world.finish(fiber, (at) => {
        if (at !== step) return
        interrupted = true
        fiber.interruptUnsafe()
      })
      if (!interrupted) break
      expect(Exit.isSuccess(exit) || Cause.hasInterrupts(exit.cause)).toBe(true)
      const { free, running, waiting } = await log.world.value(Meter.snapshot(meter))
      expect([free, running, waiting]).toEqual([5, 0, 0])
      log.expectRest()
    }
  })
})
