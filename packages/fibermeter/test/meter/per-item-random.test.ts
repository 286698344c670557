/**
 * Random calls whose items have meters of their own start their tasks at the instants of the reference model: each item is a
 * waiter of that model, which arrives when it is pulled.
 */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Stream } from "effect"
import fc from "fast-check"
import { amap, Meter, runAll, runOnEach } from "../../src/index.ts"
import { AdmissionModel } from "../support/admissionModel.ts"
import type { ModelChange, ModelTask } from "../support/admissionModel.ts"
import { Source } from "../support/Source.ts"
import { World } from "../support/World.ts"

const milli = 1_000_000

type Item = Pick<ModelTask, "meters" | "lasts" | "priority" | "lane">

interface Call {
  readonly verb: "runOnEach" | "runAll" | "amap"
  readonly at: number
  readonly items: ReadonlyArray<Item>
  readonly maxAtOnce: number | undefined
  readonly maxPending: number
  readonly permits: number
}

interface Program {
  readonly limits: ReadonlyArray<number>
  readonly calls: ReadonlyArray<Call>
  /** Single tasks at the same meters. */
  readonly tasks: ReadonlyArray<ModelTask>
  readonly changes: ReadonlyArray<ModelChange>
}

/** The starts by the rule. A call's own limit is one more meter, which is asked last and keeps no room. */
const modelled = ({ calls, changes, limits, tasks }: Program): AdmissionModel => {
  const own = calls.flatMap(({ maxAtOnce }) => maxAtOnce ?? [])
  const model = new AdmissionModel([...limits, ...own])
  const pulls = new Map<string, () => void>()
  model.onStart = (name) => pulls.get(name)?.()
  let meters = limits.length
  for (const [n, { at, items, maxAtOnce, maxPending, permits }] of calls.entries()) {
    const limiter = maxAtOnce === undefined ? [] : [meters++]
    for (const index of limiter) model.neverKeep.add(index)
    let pulled = 0
    let waiting = 0
    let isPulling = false
    const pull = (): void => {
      if (isPulling) return
      isPulling = true
      while (pulled < items.length && waiting < maxPending) {
        const item = items[pulled]!
        const name = `${n}.${pulled++}`
        pulls.set(name, () => {
          waiting--
          pull()
        })
        waiting++
        model.arrive(name, { ...item, at: model.now, permits, meters: [...item.meters, ...limiter] })
      }
      isPulling = false
    }
    model.at(at, pull)
  }
  for (const [n, task] of tasks.entries()) model.add(String(n), task)
  for (const change of changes) model.change(change)
  return model.run()
}

const nanos = (n: number) => Effect.sleep(Duration.nanos(BigInt(n)))

const play = async ({ calls, changes, limits, tasks }: Program): Promise<ReadonlyMap<string, number>> => {
  const world = new World()
  const starts = new Map<string, number>()
  // A set lists the youngest first, and so does the model.
  const meters = limits
    .toReversed()
    .map((maxAtOnce) => Meter.makeUnsafe({ maxAtOnce }))
    .toReversed()
  const run = (name: string, lasts: number) =>
    Effect.andThen(
      Effect.sync(() => starts.set(name, Number(world.now))),
      nanos(lasts)
    )
  const begun = calls.map(({ at, items, maxAtOnce, maxPending, permits, verb }, n) => {
    let waiting = 0
    let most = 0
    // The items of the call that have been pulled and have not started.
    const source = new Source(items.length, (index) => {
      most = Math.max(most, ++waiting)
      return { ...items[index]!, name: `${n}.${index}` }
    })
    const task = ({ lasts, name }: Item & { readonly name: string }) => {
      waiting--
      return run(name, lasts)
    }
    const options = {
      meter: (item: Item) => item.meters.map((index) => meters[index]!),
      maxAtOnce,
      maxPending,
      permits,
      priority: ({ priority = 0 }: Item) => priority,
      lane: ({ lane }: Item) => lane
    }
    const call = {
      runOnEach: runOnEach(source, task, options),
      runAll: runAll(source, task, options),
      amap: Stream.runDrain(amap(source, task, { ...options, maxUnread: Infinity }))
    }[verb]
    return nanos(at).pipe(
      Effect.andThen(call),
      Effect.andThen(Effect.sync(() => expect(most).toBeLessThanOrEqual(maxPending + 1)))
    )
  })
  const single = tasks.map(({ at, lasts, meters: used }, n) =>
    Effect.andThen(nanos(at), Meter.metered(run(String(n), lasts), Meter.all(...used.map((index) => meters[index]!))))
  )
  const controls = changes.map(({ at, maxAtOnce, meter: index, pauses }) => {
    const meter = meters[index]!
    const change =
      pauses === undefined ? Meter.resize(meter, { maxAtOnce }) : Meter.pause(meter, Duration.nanos(BigInt(pauses)))
    return Effect.andThen(nanos(at), change)
  })
  await world.value(Effect.all([...begun, ...single, ...controls], { concurrency: "unbounded", discard: true }))
  const left = await world.value(Effect.forEach(meters, Meter.snapshot))
  expect(left.map(({ running, waiting }) => running + waiting)).toEqual(limits.map(() => 0))
  expect(world.fibersLive + world.timersLeft + world.stepsLeft).toBe(0)
  return starts
}

// Times are drawn to the nanosecond and not shrunk, so that next to never two things happen at the same instant.
const most = 5
const time = (ms: number) => fc.noShrink(fc.integer({ min: milli / 10, max: ms * milli }))
/** Mostly keyed meters, some with one for all before them: number 0. */
const keyed = fc
  .tuple(fc.integer({ min: 1, max: most - 1 }), fc.boolean())
  .map(([key, all]) => (all ? [0, key] : [key]))

const call = (isRanked: boolean): fc.Arbitrary<Call> =>
  fc.record({
    verb: fc.constantFrom("runOnEach", "runAll", "amap"),
    at: time(30),
    items: fc.array(
      fc.record({
        meters: keyed,
        lasts: time(40),
        priority: isRanked ? fc.constantFrom(0, 0, 1, -1) : fc.constant(0),
        lane: isRanked ? fc.constantFrom(undefined, undefined, "a", "b") : fc.constant(undefined)
      }),
      { maxLength: 25 }
    ),
    maxAtOnce: fc.option(fc.integer({ min: 3, max: 6 }), { nil: undefined }),
    maxPending: fc.constantFrom(1, 2, 5, 1000),
    permits: isRanked ? fc.constantFrom(1, 1, 2, 3) : fc.constant(1)
  })

const program = (isRanked: boolean): fc.Arbitrary<Program> =>
  fc.record({
    limits: fc.array(fc.integer(isRanked ? { min: 3, max: 5 } : { min: 1, max: 3 }), {
      minLength: most,
      maxLength: most
    }),
    calls: fc.array(call(isRanked), { minLength: 1, maxLength: 3 }),
    tasks: fc.array(fc.record({ at: time(80), lasts: time(40), meters: keyed }), { maxLength: 10 }),
    changes: fc.array(
      fc.oneof(
        fc.record({
          at: time(150),
          meter: fc.nat({ max: most - 1 }),
          maxAtOnce: fc.integer(isRanked ? { min: 3, max: 5 } : { min: 1, max: 3 })
        }),
        fc.record({
          at: time(150),
          meter: fc.nat({ max: most - 1 }),
          pauses: fc.integer({ min: 1, max: 40 }).map((ms) => ms * milli)
        })
      ),
      { maxLength: 3 }
    )
  })

/** By default the same programs in each run; others by `RANDOM_SEED=7 vitest run …`. */
const seed = { seed: Number(process.env["RANDOM_SEED"] ?? 20_261_127) }

const sorted = (starts: ReadonlyMap<string, number>) => [...starts].toSorted(([a], [b]) => (a < b ? -1 : 1))

describe("random calls with a meter per item", () => {
  it.each([
    ["start every item at the instant that the rule predicts", false],
    ["do so with permits, priorities and lanes, too", true]
  ])("%s", async (_, isRanked) => {
    let compared = 0
    await fc.assert(
      fc.asyncProperty(program(isRanked), async (given) => {
        const model = modelled(given)
        expect(model.waiting, "waiters that are left in the model").toBe(0)
        const starts = await play(given)
        if (model.hasTie) return
        compared++
        expect(sorted(starts)).toEqual(sorted(model.starts))
      }),
      { numRuns: 150, ...seed }
    )
    expect(compared).toBeGreaterThan(100)
  })
})
