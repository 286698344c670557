/**
 * The rule by which waiters are admitted to several meters: random programs start their tasks at the instants of the
 * reference model, none of them hangs, and the model's waits are bounded as `setQueue.ts` states.
 */
import { isDeepStrictEqual } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { Meter } from "../../src/index.ts"
import { AdmissionModel } from "../support/admissionModel.ts"
import type { Breach, ModelChange, ModelTask, ModelWaitLimits } from "../support/admissionModel.ts"
import { Log } from "../support/Log.ts"
import { World } from "../support/World.ts"

const milli = 1_000_000

interface Program {
  readonly limits: ReadonlyArray<number>
  readonly tasks: ReadonlyArray<ModelTask>
  readonly changes: ReadonlyArray<ModelChange>
  readonly waits?: ReadonlyArray<ModelWaitLimits>
}

const modelled = ({ changes, limits, tasks, waits }: Program, breach?: Breach): AdmissionModel => {
  const model = new AdmissionModel(limits, breach, waits)
  for (const [n, task] of tasks.entries()) model.add(String(n), task)
  for (const change of changes) model.change(change)
  return model.run()
}

/** By default the same programs in each run; others by `RANDOM_SEED=7 vitest run …`. */
const seed = { seed: Number(process.env["RANDOM_SEED"] ?? 20_261_127) }

interface Outcomes {
  readonly starts: ReadonlyMap<string, number>
  readonly refusals: ReadonlyMap<string, string>
}

const reasonOf = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return undefined
  const error = Cause.squash(exit.cause)
  return error instanceof Meter.Overloaded ? error.reason : error instanceof Meter.Closed ? "closed" : String(error)
}

/** Plays a program on real meters and gives the start of each task, or why it was refused. A program that hangs is an error. */
const play = async ({ changes, limits, tasks, waits = [] }: Program): Promise<Outcomes> => {
  const world = new World()
  const starts = new Map<string, number>()
  const refusals = new Map<string, string>()
  const waitLimits = ({ waitTimeout, ...limits }: ModelWaitLimits = {}): Meter.MeterLimits => ({
    ...limits,
    waitTimeout: waitTimeout === undefined ? undefined : Duration.nanos(BigInt(waitTimeout))
  })
  // A set lists the youngest first, and so does the model.
  const meters = limits
    .map((maxAtOnce, index) => ({ maxAtOnce, ...waitLimits(waits[index]) }))
    .toReversed()
    .map((options): Meter.Meter<any> => Meter.makeUnsafe(options))
    .toReversed()
  const nanos = (n: number) => Effect.sleep(Duration.nanos(BigInt(n)))
  const run = (name: string, task: Omit<ModelTask, "at">): Effect.Effect<unknown, unknown> => {
    const { inside, lane, lasts, meters: used, permits, priority, waitTimeout } = task
    const body = inside === undefined ? nanos(lasts) : Effect.andThen(nanos(inside.after), run(`${name}.`, inside))
    // Listed in another order for every other task.
    const listed = name.length % 2 === 0 ? used : used.toReversed()
    const noting = Effect.andThen(
      Effect.sync(() => starts.set(name, Number(world.now))),
      body
    )
    const meter = Meter.all(...listed.map((index) => meters[index]!))
    const timeout = waitTimeout === undefined ? undefined : Duration.nanos(BigInt(waitTimeout))
    return Meter.metered(noting, meter, { lane, permits, priority, waitTimeout: timeout })
  }
  const calls = tasks.map((task, n) =>
    Effect.gen(function* () {
      yield* nanos(task.at)
      const noting = Effect.onExit(run(String(n), task), (exit) =>
        Effect.sync(() => {
          const reason = reasonOf(exit)
          if (reason !== undefined) refusals.set(String(n), `${reason} ${world.now}`)
        })
      )
      const fiber = yield* Effect.forkChild(noting, { startImmediately: true })
      if (task.leavesAt !== undefined) {
        yield* nanos(Math.max(0, task.leavesAt - task.at))
        if (!starts.has(String(n))) fiber.interruptUnsafe()
      }
      yield* Fiber.await(fiber)
    })
  )
  const controls = changes.map(({ at, drains, maxAtOnce, meter: index, pauses }) => {
    const meter = meters[index]!
    if (drains === true) return Effect.andThen(nanos(at), Meter.drain(meter))
    const change =
      pauses === undefined ? Meter.resize(meter, { maxAtOnce }) : Meter.pause(meter, Duration.nanos(BigInt(pauses)))
    return Effect.andThen(nanos(at), change)
  })
  await world.value(Effect.all([...calls, ...controls], { concurrency: "unbounded", discard: true }))
  const left = await world.value(Effect.forEach(meters, Meter.snapshot))
  expect(left.map(({ running, waiting }) => running + waiting)).toEqual(limits.map(() => 0))
  expect(world.fibersLive + world.timersLeft + world.stepsLeft).toBe(0)
  return { starts, refusals }
}

const sorted = (starts: ReadonlyMap<string, unknown>) => [...starts].toSorted(([a], [b]) => (a < b ? -1 : 1))

// Random programs. Times are drawn to the nanosecond and not shrunk, so that next to never two things happen at the same
// instant: in which order they do then is not part of the rule.
const most = 4
const time = (ms: number) => fc.noShrink(fc.integer({ min: milli / 10, max: ms * milli }))
const set = fc
  .uniqueArray(fc.nat({ max: most - 1 }), { minLength: 1, maxLength: 3 })
  .map((all) => all.toSorted((a, b) => a - b))

/** What is inside of a task needs only meters behind those of the task, so that no circle of tasks can wait for itself. */
const insideOf = (meters: ReadonlyArray<number>): fc.Arbitrary<ModelTask["inside"]> => {
  const free = [0, 1, 2, 3].filter((index) => meters.every((each) => each < index))
  if (free.length === 0) return fc.constant(undefined)
  return fc.option(
    fc
      .subarray(free, { minLength: 1 })
      .chain((used) =>
        fc.record({ after: time(30), lasts: time(30), meters: fc.constant(used), inside: insideOf(used) })
      ),
    { nil: undefined }
  ) as fc.Arbitrary<ModelTask["inside"]>
}

const task = (isNested: boolean): fc.Arbitrary<ModelTask> =>
  fc
    .record({ at: time(60), lasts: time(40), meters: set, leaves: fc.option(time(80), { nil: undefined }) })
    .chain(({ leaves, ...given }): fc.Arbitrary<ModelTask> =>
      (isNested ? insideOf(given.meters) : fc.constant(undefined)).map((inside) => ({
        ...given,
        ...(inside === undefined ? {} : { inside }),
        ...(leaves === undefined || inside !== undefined ? {} : { leavesAt: given.at + leaves })
      }))
    )

const change: fc.Arbitrary<ModelChange> = fc.oneof(
  fc.record({ at: time(150), meter: fc.nat({ max: most - 1 }), maxAtOnce: fc.integer({ min: 1, max: 3 }) }),
  fc.record({
    at: time(150),
    meter: fc.nat({ max: most - 1 }),
    pauses: fc.integer({ min: 1, max: 40 }).map((ms) => ms * milli)
  })
)

const program = (isNested: boolean): fc.Arbitrary<Program> =>
  fc.record({
    limits: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: most, maxLength: most }),
    tasks: fc.array(task(isNested), { minLength: 4, maxLength: 30 }),
    changes: fc.array(change, { maxLength: 4 })
  })

/** Tasks with permits, priorities and lanes. No meter is made too small for any of them. */
const ranked = (isNested: boolean): fc.Arbitrary<Program> => {
  const ranks = fc.record({
    permits: fc.constantFrom(1, 1, 1, 2, 3),
    priority: fc.constantFrom(0, 0, 1, -1, 5),
    lane: fc.constantFrom(undefined, undefined, "a", "b")
  })
  return fc
    .tuple(program(isNested), fc.infiniteStream(fc.noShrink(ranks)), fc.integer({ min: 1, max: 4 }))
    .map(([{ changes, limits, tasks }, all, kinds]): Program => {
      const rank = (task: ModelTask): ModelTask => ({
        ...task,
        ...all.next().value!,
        // More of them for the same meters.
        meters: task.inside === undefined ? task.meters.slice(0, kinds) : task.meters,
        ...(task.inside === undefined ? {} : { inside: { ...task.inside, ...all.next().value! } })
      })
      const larger = ({ maxAtOnce, ...change }: ModelChange): ModelChange =>
        maxAtOnce === undefined ? change : { ...change, maxAtOnce: maxAtOnce + 2 }
      return { limits: limits.map((limit) => limit + 2), tasks: tasks.map(rank), changes: changes.map(larger) }
    })
}

describe("random programs with permits, priorities and lanes", () => {
  it.each([
    ["start every task at the instant that the rule predicts", false],
    ["never hang, also where tasks wait for other meters inside of themselves", true]
  ])("%s", async (_, isNested) => {
    let different = 0
    await fc.assert(
      fc.asyncProperty(ranked(isNested), async (given) => {
        const model = modelled(given)
        expect(model.waiting).toBe(0)
        const { starts } = await play(given)
        if (model.hasTie) return
        expect(sorted(starts)).toEqual(sorted(model.starts))
        const plain = given.tasks.map(({ at, lasts, meters }) => ({ at, lasts, meters }))
        if (!isNested)
          different += Number(!isDeepStrictEqual(modelled({ ...given, tasks: plain }).starts, model.starts))
      }),
      { numRuns: 200, ...seed }
    )
    if (!isNested) expect(different, "programs with another order").toBeGreaterThan(50)
  })
})

/** Meters with limits on waiting, some of which are drained. */
const overloaded: fc.Arbitrary<Program> = fc
  .record({
    given: ranked(false),
    waits: fc.array(
      fc.record(
        {
          maxWaiting: fc.nat({ max: 5 }),
          waitTimeout: fc.integer({ min: 1, max: 50 }).map((ms) => ms * milli),
          overflow: fc.constantFrom("refuse", "dropOldest")
        },
        { requiredKeys: [] }
      ),
      { minLength: most, maxLength: most }
    ),
    timeouts: fc.infiniteStream(
      fc.option(
        fc.integer({ min: 0, max: 40 }).map((ms) => ms * milli),
        { nil: undefined, freq: 2 }
      )
    ),
    drains: fc.array(fc.record({ at: time(150), meter: fc.nat({ max: most - 1 }), drains: fc.constant(true) }), {
      maxLength: 2
    })
  })
  .map(({ drains, given, timeouts, waits }) => ({
    ...given,
    tasks: given.tasks.map((task) => ({ ...task, waitTimeout: timeouts.next().value })),
    changes: [...given.changes, ...drains] as ReadonlyArray<ModelChange>,
    waits
  }))

describe("random programs with limits on waiting and drains", () => {
  it("start or refuse every task at the instant that the rules predict, and lose none", async () => {
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(overloaded, async (given) => {
        const model = modelled(given)
        expect(model.waiting).toBe(0)
        const { refusals, starts } = await play(given)
        const settled = new Set([...starts.keys(), ...refusals.keys()])
        const left = given.tasks.flatMap(({ leavesAt }, n) => (leavesAt === undefined ? [] : [String(n)]))
        expect(new Set([...settled, ...left]).size, "tasks accounted for").toBe(given.tasks.length)
        if (model.hasTie) return
        expect(sorted(starts)).toEqual(sorted(model.starts))
        expect(sorted(refusals)).toEqual(sorted(model.refusals))
        for (const reason of refusals.values()) seen.add(reason.split(" ")[0]!)
      }),
      { numRuns: 300, ...seed }
    )
    expect([...seen].toSorted()).toEqual(["closed", "queue-full", "wait-timeout"])
  })
})

describe("random programs of four meters", () => {
  it("start every task at the instant that the rule predicts", async () => {
    await fc.assert(
      fc.asyncProperty(program(false), async (given) => {
        const model = modelled(given)
        const { starts } = await play(given)
        if (!model.hasTie) expect(sorted(starts)).toEqual(sorted(model.starts))
      }),
      { numRuns: 150, ...seed }
    )
  })

  it("never hang, also where tasks wait for other meters inside of themselves", async () => {
    await fc.assert(
      fc.asyncProperty(program(true), async (given) => {
        const model = modelled(given)
        expect(model.waiting).toBe(0)
        const { starts } = await play(given)
        if (!model.hasTie) expect(sorted(starts)).toEqual(sorted(model.starts))
      }),
      { numRuns: 150, ...seed }
    )
  })
})

/** Single tasks that keep the meters busy, each of which comes before the last has ended, among tasks for several. */
const flood: fc.Arbitrary<Program> = fc.integer({ min: 2, max: most }).chain((count) => {
  const crowd = fc.array(fc.tuple(time(12), time(20)), { minLength: 60, maxLength: 60 })
  const several = fc.array(fc.tuple(time(300), time(20)), { minLength: 1, maxLength: 6 })
  return fc
    .record({
      limits: fc.array(fc.integer({ min: 1, max: 2 }), { minLength: count, maxLength: count }),
      crowds: fc.array(crowd, { minLength: count, maxLength: count }),
      several
    })
    .map(({ crowds, limits, several }): Program => {
      const singles = crowds.flatMap((each, meter) => {
        let at = 0
        return each.map(([gap, lasts]): ModelTask => ({ at: (at += gap / limits[meter]!), lasts, meters: [meter] }))
      })
      const meters = [...limits.keys()]
      return { limits, tasks: [...singles, ...several.map(([at, lasts]) => ({ at, lasts, meters }))], changes: [] }
    })
})

/**
 * For each task that needs several meters: how long it waited after all that came before it had started, in units of the
 * longest time that one of its meters stayed closed to a waiter that was first there.
 */
const waitsInTurn = ({ tasks }: Program, { longestClosed, starts }: AdmissionModel): ReadonlyArray<number> =>
  tasks.flatMap(({ at, meters }, n) => {
    if (meters.length === 1) return []
    const earlier = tasks.flatMap((each, other) => (each.at < at ? [starts.get(String(other))!] : []))
    const longest = Math.max(...meters.map((index) => longestClosed[index]!))
    return [(starts.get(String(n))! - Math.max(at, ...earlier)) / longest]
  })

const isBounded = (given: Program, breach?: Breach): boolean =>
  waitsInTurn(given, modelled(given, breach)).every((wait) => wait <= 2 + given.limits.length)

describe("however crowded n meters are", () => {
  it("the first waiter for all meters waits at most (2 + n) times as long as one of them stays closed", () => {
    const bounded = fc.property(flood, (given) => {
      expect(isBounded(given)).toBe(true)
    })
    fc.assert(bounded, { numRuns: 200, ...seed })
  })

  it("that is owed to the room which is kept for it", () => {
    expect(fc.check(fc.property(flood, (given) => isBounded(given, { keeps: "never" }))).failed).toBe(true)
  })

  it("no task hangs, which is owed to the time after which that ends", () => {
    const ends = (given: Program, breach?: Breach): boolean => modelled(given, breach).waiting === 0
    fc.assert(
      fc.property(program(true), (given) => {
        expect(ends(given)).toBe(true)
      })
    )
    expect(
      fc.check(
        fc.property(program(true), (given) => ends(given, { keeps: "for ever" })),
        { numRuns: 1000, ...seed }
      ).failed
    ).toBe(true)
  })
})

const pair = (): readonly [Meter.Meter, Meter.Meter] => [
  Meter.makeUnsafe({ maxAtOnce: 1 }),
  Meter.makeUnsafe({ maxAtOnce: 1 })
]

describe.each([
  { listed: "the one that is waited for first", of: (a: Meter.Meter, b: Meter.Meter) => Meter.all(a, b) },
  { listed: "the one that is waited for last", of: (a: Meter.Meter, b: Meter.Meter) => Meter.all(b, a) }
])("of two meters, listed with $listed", ({ of }) => {
  it.each([0, 1])(
    "a nested call gets the permit that only a waiter for both meters would take (meters made in order %d)",
    async (order) => {
      const [one, two] = pair()
      const [outer, inner] = order === 0 ? [one, two] : [two, one]
      const log = new Log()
      const body = Effect.andThen(Effect.sleep(20), Meter.metered(log.task("inside", 10), inner))
      await log.play(
        [0, Meter.metered(log.around("outer", body), outer)],
        [5, Meter.metered(log.task("both", 10), of(outer, inner))],
        [6, Meter.metered(log.task("both again", 10), of(outer, inner))]
      )
      expect(log.starts).toEqual(["outer 0", "inside 20", "both 30", "both again 40"])
      log.expectRest()
    }
  )

  it("a task that needs one of them does not wait for the other", async () => {
    const [busy, free] = [Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.makeUnsafe({ maxAtOnce: 10 })]
    const log = new Log()
    await log.play(
      [0, Meter.metered(log.task("busy", 500), busy)],
      [5, Meter.metered(log.task("both", 10), of(busy, free))],
      [10, Meter.metered(log.task("one", 10), free)]
    )
    expect(log.starts).toEqual(["busy 0", "one 10", "both 500"])
    log.expectRest()
  })

  it("a waiter is counted at each", async () => {
    const [a, b] = pair()
    const log = new Log()
    const seen: Array<unknown> = []
    const count = Effect.map(Effect.all([Meter.snapshot(a), Meter.snapshot(b)]), (both) =>
      seen.push(both.map(({ free, waiting }) => [waiting, free]))
    )
    await log.play(
      [0, Meter.metered(log.task("busy", 50), a)],
      [5, Meter.metered(log.task("both"), of(a, b))],
      [6, Effect.timeoutOption(Meter.metered(log.task("gone"), of(a, b)), 10)],
      [10, count],
      [20, count],
      [60, count]
    )
    expect(seen).toEqual([
      [
        [2, 0],
        [2, 1]
      ],
      [
        [1, 0],
        [1, 1]
      ],
      [
        [0, 1],
        [0, 1]
      ]
    ])
  })
})

// At 40, `a` opens to "both" and `b` is closed: from then on, room is kept at `a` for half of the 30 ms that it has waited.
describe("kept room", () => {
  it("is a permit: as many others start as there are more", async () => {
    const log = new Log()
    const b = Meter.makeUnsafe({ maxAtOnce: 1 })
    const a = Meter.makeUnsafe({ maxAtOnce: 2 })
    await log.play(
      [0, Meter.metered(log.task("a 1", 40), a)],
      [0, Meter.metered(log.task("a 2", 40), a)],
      [0, Meter.metered(log.task("b", 60), b)],
      [10, Meter.metered(log.task("both", 10), Meter.all(a, b))],
      [41, Meter.metered(log.task("passes", 100), a)],
      [42, Meter.metered(log.task("waits", 10), a)]
    )
    expect(log.starts).toEqual(["a 1 0", "a 2 0", "b 0", "passes 41", "waits 55", "both 65"])
    log.expectRest()
  })

  it("is an amount of a window: what is left beside it may be spent", async () => {
    const log = new Log()
    const b = Meter.makeUnsafe({ maxAtOnce: 1 })
    const a = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 40 } } })
    const spend = (name: string, tokens: number) => Meter.metered(log.task(name), a, { cost: { tokens } })
    await log.play(
      [0, spend("first", 10)],
      [0, Meter.metered(log.task("b", 60), b)],
      [10, Meter.metered(log.task("both", 10), Meter.all(a, b), { cost: { tokens: 6 } })],
      [41, spend("four", 4)],
      [42, spend("one", 1)],
      [43, spend("ten", 10)]
    )
    expect(log.starts).toEqual(["first 0", "b 0", "four 41", "one 55", "both 81", "ten 121"])
    log.expectRest()
  })

  it("is a slot of a rate: the next one comes an interval after it, or when it is kept no longer", async () => {
    const log = new Log()
    const b = Meter.makeUnsafe({ maxAtOnce: 1 })
    const a = Meter.makeUnsafe({ maxPerSecond: 25 })
    await log.play(
      [0, Meter.metered(log.task("first"), a)],
      [0, Meter.metered(log.task("b", 60), b)],
      [10, Meter.metered(log.task("both", 10), Meter.all(a, b))],
      [41, Meter.metered(log.task("waits"), a)]
    )
    expect(log.starts).toEqual(["first 0", "b 0", "waits 55", "both 95"])
    log.expectRest()
  })
})

describe("room that was kept and bound no waiter", () => {
  // Found by random programs. From 28 to 29, a permit of `a` is kept for "late". It binds no waiter, so nothing is checked
  // when that ends. What ends at 30 frees a permit of `c`, which is due to "early".
  it("does not change in which order the limiters of a task are checked when it ends", async () => {
    const log = new Log()
    const d = Meter.makeUnsafe({ maxAtOnce: 3 })
    const c = Meter.makeUnsafe({ maxAtOnce: 4 })
    const b = Meter.makeUnsafe({ maxAtOnce: 5 })
    const a = Meter.makeUnsafe({ maxAtOnce: 3 })
    await log.play(
      [1, Meter.metered(log.task("b", 32), b)],
      [2, Meter.metered(log.task("b and c", 34), Meter.all(b, c))],
      [4, Meter.metered(log.task("b, c and d", 36), Meter.all(b, c, d), { permits: 2 })],
      [6, Meter.metered(log.task("a, b and d", 24), Meter.all(a, b, d))],
      [8, Meter.metered(log.task("early", 17), Meter.all(a, b, d))],
      [9, Meter.metered(log.task("a and c", 50), Meter.all(a, c))],
      [25, Meter.metered(log.task("for d alone", 5), d)],
      [27, Meter.metered(log.task("large", 5), Meter.all(a, b), { permits: 3 })],
      [28, Meter.metered(log.task("late", 5), Meter.all(a, c, d))]
    )
    expect(log.starts).toEqual([
      "b 1",
      "b and c 2",
      "b, c and d 4",
      "a, b and d 6",
      "a and c 9",
      "early 30",
      "for d alone 40",
      "late 40",
      "large 59"
    ])
    log.expectRest()
  })
})

// A waiter for both waits at `a`, the younger meter. When `a` opens, `b` has room for it, but not for an earlier waiter.
describe("a waiter for several meters does not overtake an earlier one at any of them", () => {
  const meters = (limits: Meter.Limits = {}) => {
    const b = Meter.makeUnsafe({ ...limits, windows: { tokens: { limit: 10, per: 1000 } } })
    const a = Meter.makeUnsafe({ maxAtOnce: 1 })
    return { a, b, both: Meter.all(a, b) }
  }

  it("that needs more than is free", async () => {
    const log = new Log()
    const { a, b, both } = meters()
    const spend = (name: string, tokens: number, meter: Meter.Meter) =>
      Meter.metered(log.task(name), meter, { cost: { tokens } })
    await log.play(
      [0, Meter.metered(log.task("a", 40), a)],
      [0, spend("seven", 7, b)],
      [10, spend("five", 5, b)],
      [20, spend("both", 1, both)]
    )
    expect(log.starts).toEqual(["a 0", "seven 0", "five 1000", "both 1000"])
    log.expectRest()
  })

  it("that needs more than is free, behind another that has lacked permits", async () => {
    const log = new Log()
    const { a, b, both } = meters({ maxAtOnce: 3 })
    const spend = (name: string, tokens: number, meter: Meter.Meter, permits: number, millis: number) =>
      Meter.metered(log.task(name, millis), meter, { cost: { tokens }, permits })
    await log.play(
      [0, Meter.metered(log.task("a", 40), a)],
      [0, spend("seven", 7, b, 1, 20)],
      [5, spend("large", 1, b, 3, 10)],
      [6, spend("five", 5, b, 1, 10)],
      [10, spend("both", 1, both, 1, 10)]
    )
    expect(log.starts).toEqual(["a 0", "seven 0", "large 20", "five 1000", "both 1000"])
    log.expectRest()
  })
})

describe("room that is kept for weeks", () => {
  it.effect("is kept until its time, also where a meter begins to count its time anew", () =>
    Effect.gen(function* () {
      const older = Meter.makeUnsafe({ maxAtOnce: 1 })
      const younger = Meter.makeUnsafe({ maxAtOnce: 1 })
      const starts: Array<string> = []
      const start = (name: string, duration: Duration.Input, meter: Meter.Meter) =>
        Effect.forkChild(
          Meter.metered(
            Effect.andThen(
              Effect.sync(() => starts.push(name)),
              Effect.sleep(duration)
            ),
            meter
          )
        )
      yield* start("older", "60 days", older)
      yield* start("younger", "40 days", younger)
      yield* TestClock.adjust(0)
      yield* start("both", "1 day", Meter.all(older, younger))
      yield* TestClock.adjust("55 days")
      yield* start("later", "1 day", younger)
      yield* TestClock.adjust("4 days")
      expect(starts).toEqual(["older", "younger"])
      yield* TestClock.adjust("1 day")
      expect(starts).toEqual(["older", "younger", "both"])
      yield* TestClock.adjust("1 day")
      expect(starts).toEqual(["older", "younger", "both", "later"])
    })
  )
})
