/**
 * Random programs against the reference model: whatever limits, costs, arrivals, durations, interruptions, pauses,
 * resizes and corrections, every task starts at the model's instant, and no window ever holds more than its limit.
 */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import fc from "fast-check"
import { Meter } from "../../src/index.ts"
import { type ModelEvent, type ModelMeter, type ModelWindow, meterModel } from "../support/meterModel.ts"
import { World } from "../support/World.ts"

const milli = 1_000_000

/** Rates whose intervals are whole milliseconds. */
const rates = [1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 200] as const

interface Limits {
  readonly maxAtOnce?: number | undefined
  readonly rate?: number | undefined
  readonly burst?: number | undefined
  readonly windows?: Readonly<Record<string, ModelWindow>> | undefined
}

const paceOf = (rate: number, burst: number) => ({
  interval: (1000 / rate) * milli,
  places: Math.max(rate, burst),
  burst
})

const modelOf = ({ burst = 1, maxAtOnce = Infinity, rate, windows = {} }: Limits): ModelMeter => ({
  maxAtOnce,
  pace: rate === undefined ? undefined : paceOf(rate, burst),
  windows
})

const windowsOf = (windows: Limits["windows"]) =>
  windows === undefined
    ? undefined
    : Object.fromEntries(Object.entries(windows).map(([name, { limit, per }]) => [name, { limit, per: per / milli }]))

const limitsOf = ({ burst, maxAtOnce, rate, windows }: Limits): Meter.Limits => ({
  maxAtOnce,
  maxPerSecond: rate,
  maxBurst: burst,
  windows: windowsOf(windows)
})

type Command = ModelEvent | ({ readonly at: number; readonly do: "resizing" } & { readonly limits: Limits })

interface Program {
  readonly limits: Limits
  readonly commands: ReadonlyArray<Command>
}

/** Plays a program on a real meter and gives the start of each task. */
const play = async ({ commands, limits }: Program): Promise<ReadonlyMap<number, number>> => {
  const world = new World()
  const meter = Meter.makeUnsafe(limitsOf(limits))
  const starts = new Map<number, number>()
  const fibers = new Map<number, Fiber.Fiber<unknown, unknown>>()
  const until = (at: number) => Effect.suspend(() => Effect.sleep(Duration.nanos(BigInt(at) - world.now)))
  const task = (id: number, lasts: number) =>
    Effect.gen(function* () {
      starts.set(id, Number(world.now))
      for (const command of commands) {
        if (command.do !== "correct" || command.task !== id || command.at < Number(world.now)) continue
        yield* Effect.forkChild(Effect.andThen(until(command.at), Meter.correct(command.cost)))
      }
      if (lasts > 0) yield* Effect.sleep(Duration.nanos(BigInt(lasts)))
      // Some fail: that is an end like any other.
      if (id % 3 === 0) return yield* Effect.fail("ended")
    })
  const carryOut = (command: Command): Effect.Effect<unknown> => {
    switch (command.do) {
      case "arrive":
        return Effect.map(
          Effect.forkChild(Meter.metered(task(command.task, command.lasts), meter, { cost: command.cost })),
          (fiber) => fibers.set(command.task, fiber)
        )
      case "interrupt":
        return Effect.sync(() => fibers.get(command.task)?.interruptUnsafe())
      case "pause":
        return Meter.pause(meter, command.nanos === Infinity ? undefined : Duration.nanos(BigInt(command.nanos)))
      case "resume":
        return Meter.resume(meter)
      case "resizing":
        return Meter.resize(meter, limitsOf(command.limits))
      default:
        return Effect.void
    }
  }
  await world.value(
    Effect.gen(function* () {
      for (const command of commands) {
        if (command.do === "correct") continue
        yield* until(command.at)
        yield* carryOut(command)
      }
      yield* Fiber.awaitAll([...fibers.values()])
    }).pipe(Effect.timeout("30 days"))
  )
  const { running, waiting } = await world.value(Meter.snapshot(meter))
  expect({ running, waiting }).toEqual({ running: 0, waiting: 0 })
  expect(world.fibersLive + world.timersLeft + world.stepsLeft).toBe(0)
  return starts
}

const modelled = ({ commands, limits }: Program): ReadonlyMap<number, number> =>
  meterModel(
    modelOf(limits),
    commands.map((command): ModelEvent => {
      if (command.do !== "resizing") return command
      const { burst = 1, maxAtOnce, rate, windows } = command.limits
      return {
        at: command.at,
        do: "resize",
        limits: {
          ...(maxAtOnce === undefined ? {} : { maxAtOnce }),
          ...(rate === undefined ? {} : { pace: paceOf(rate, burst) }),
          ...(windows === undefined ? {} : { windows })
        }
      }
    })
  )

const sorted = (starts: ReadonlyMap<number, number>) => [...starts].toSorted(([a], [b]) => a - b)

const expectAsModelled = async (program: Program): Promise<void> => {
  expect(sorted(await play(program))).toEqual(sorted(modelled(program)))
}

/** No window holds more than its limit, whatever the model says: by the starts alone, without corrections. */
const expectHeld = (program: Program, starts: ReadonlyMap<number, number>): void => {
  const costs = new Map(
    program.commands.flatMap((each) => (each.do === "arrive" ? [[each.task, each.cost] as const] : []))
  )
  for (const [name, { limit, per }] of Object.entries(program.limits.windows ?? {})) {
    for (const from of starts.values()) {
      let sum = 0
      for (const [task, at] of starts) if (at >= from && at < from + per) sum += costs.get(task)![name] ?? 1
      expect(sum, `window ${name} from ${from}`).toBeLessThanOrEqual(limit)
    }
  }
  if (program.limits.rate === undefined) return
  const { interval, places } = paceOf(program.limits.rate, program.limits.burst ?? 1)
  for (const from of starts.values()) {
    const inside = [...starts.values()].filter((at) => at >= from && at < from + interval * places)
    expect(inside.length).toBeLessThanOrEqual(places)
  }
}

// Random programs. Command n comes at a whole millisecond and 2 ** n nanoseconds, everything else that has a length takes
// whole milliseconds: so what one command leads to never falls on the very instant of another.
const most = 18

const window = fc.record({
  limit: fc.integer({ min: 3, max: 6 }),
  per: fc.integer({ min: 3, max: 60 }).map((n) => n * milli)
})

const windowSet = fc.dictionary(fc.constantFrom("r", "s"), window, { maxKeys: 2, noNullPrototype: true })

const rate = fc.constantFrom(...rates)

const optionally = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })

const anyLimits: fc.Arbitrary<Limits> = fc.record({
  maxAtOnce: optionally(fc.integer({ min: 1, max: 4 })),
  rate: optionally(rate),
  burst: fc.constantFrom(1, 1, 2, 3, 5),
  windows: windowSet
})

type Draft = Readonly<Record<"kind" | "gap" | "lasts" | "r" | "s" | "target" | "size", number>> & {
  readonly rate: number
}

const draft: fc.Arbitrary<Draft> = fc.record({
  kind: fc.integer({ min: 0, max: 99 }),
  gap: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 900 })),
  lasts: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 120 })),
  r: fc.integer({ min: 0, max: 3 }),
  s: fc.integer({ min: 0, max: 3 }),
  target: fc.nat({ max: most }),
  size: fc.integer({ min: 1, max: 4 }),
  rate
})

/** Which share of the commands is of which kind, beside arrivals; in percent. */
interface Shares {
  readonly interrupt?: number
  readonly correct?: number
  readonly pause?: number
  readonly resize?: "places and windows" | "everything"
}

const programOf = (limits: Limits, drafts: ReadonlyArray<Draft>, shares: Shares): Program => {
  const commands: Array<Command> = []
  const names = Object.keys(limits.windows ?? {})
  let millis = 1
  let tasks = 0
  let taken = 0
  const share = (kind: number, percent = 0) => kind >= taken && kind < (taken += percent)
  drafts.forEach(({ gap, kind, lasts, r, rate, s, size, target }, index) => {
    millis += gap
    const at = millis * milli + 2 ** index
    const cost = Object.fromEntries(Object.entries({ r, s }).filter(([name]) => names.includes(name)))
    taken = 0
    if (share(kind, shares.interrupt)) commands.push({ at, do: "interrupt", task: target % Math.max(1, tasks) })
    else if (share(kind, shares.correct) && names.length > 0) {
      const corrected = Object.fromEntries(Object.entries(cost).map(([name, amount]) => [name, amount * 2]))
      commands.push({ at, do: "correct", task: target % Math.max(1, tasks), cost: corrected })
    } else if (share(kind, shares.pause)) {
      if (size === 1) commands.push({ at, do: "resume" })
      else commands.push({ at, do: "pause", nanos: size === 2 ? Infinity : (lasts + 1) * milli })
    } else if (shares.resize !== undefined && share(kind, 15)) {
      const resized = Object.fromEntries(names.map((name) => [name, { limit: size + 2, per: (lasts + 1) * milli }]))
      const paced = shares.resize === "everything" ? { rate } : {}
      commands.push({ at, do: "resizing", limits: { maxAtOnce: size, windows: resized, ...paced } })
    } else {
      commands.push({ at, do: "arrive", task: tasks++, lasts: lasts * milli, cost })
    }
  })
  commands.push({ at: (millis + 1) * milli + 2 ** most, do: "resume" })
  return { limits, commands }
}

const drafts = fc.array(draft, { minLength: 1, maxLength: most })

const check = async (shares: Shares, limits: fc.Arbitrary<Limits>, numRuns: number, held: boolean): Promise<void> => {
  await fc.assert(
    fc.asyncProperty(limits, drafts, async (each, list) => {
      const program = programOf(each, list, shares)
      await expectAsModelled(program)
      if (held) expectHeld(program, await play(program))
    }),
    { numRuns }
  )
}

describe("every start is the model's", () => {
  it("whatever limits, costs, arrivals and durations, and every window holds", async () => {
    await check({}, anyLimits, 300, true)
  })

  it("with waiters and runners interrupted", async () => {
    await check({ interrupt: 30 }, anyLimits, 300, true)
  })

  it("with pauses, and resumed", async () => {
    await check({ interrupt: 10, pause: 25 }, anyLimits, 300, true)
  })

  it("with costs corrected", async () => {
    await check({ interrupt: 10, correct: 35 }, anyLimits, 300, false)
  })

  it("with resized permits and windows", async () => {
    await check({ interrupt: 10, correct: 10, pause: 10, resize: "places and windows" }, anyLimits, 300, false)
  })

  it("with everything resized, the rate too", async () => {
    const unburst = anyLimits.map((limits) => ({ ...limits, burst: 1 }))
    await check({ interrupt: 10, correct: 10, pause: 10, resize: "everything" }, unburst, 300, false)
  })
})

describe("programs that once went wrong go as modelled", () => {
  const commonly = { lasts: 0, r: 0, s: 0, target: 0, size: 1, rate: 1 }
  const arrives = (gap: number, r = 0, lasts = 0): Draft => ({ ...commonly, kind: 45, gap, r, lasts })
  const resizes = (gap: number, lasts: number, rate = 1): Draft => ({ ...commonly, kind: 30, gap, lasts, rate })
  const shares = { interrupt: 10, correct: 10, pause: 10 } as const

  it("a longer window counted again what the shorter one had lost sight of", async () => {
    const limits = { windows: { r: { limit: 3, per: 3 * milli } } }
    const program = (...list: ReadonlyArray<Draft>) =>
      programOf(limits, list, { ...shares, resize: "places and windows" })
    await expectAsModelled(program(arrives(0, 1), resizes(3, 3), arrives(0, 3)))
    await expectAsModelled(program(arrives(0, 2), resizes(3, 3), arrives(0, 2)))
  })

  it("a resized rate counted from the beginning of a wait, not from the last start", async () => {
    const program = (limits: Limits, ...list: ReadonlyArray<Draft>) =>
      programOf(limits, list, { ...shares, resize: "everything" })
    const interrupts: Draft = { ...commonly, kind: 0, gap: 0 }
    await expectAsModelled(
      program({ rate: 1 }, arrives(0, 0, 11), resizes(8, 0, 100), arrives(2), resizes(0, 0), interrupts)
    )
    await expectAsModelled(program({}, resizes(0, 0), arrives(0), arrives(5), resizes(5, 0, 100), arrives(0)))
  })
})

describe("the model itself", () => {
  const arrivals = (...costs: ReadonlyArray<number>): ReadonlyArray<ModelEvent> =>
    costs.map((r, task) => ({ at: 1, do: "arrive", task, lasts: 10 * milli, cost: { r } }))
  const starts = (limits: Limits, events: ReadonlyArray<ModelEvent>) =>
    sorted(meterModel(modelOf(limits), events)).map(([, at]) => (at - 1) / milli)

  it("knows permits, rates, bursts, windows and costs", () => {
    expect(starts({ maxAtOnce: 2 }, arrivals(1, 1, 1, 1, 1))).toEqual([0, 0, 10, 10, 20])
    expect(starts({ rate: 5 }, arrivals(1, 1, 1))).toEqual([0, 200, 400])
    expect(starts({ rate: 5, burst: 2 }, arrivals(1, 1, 1, 1, 1, 1))).toEqual([0, 0, 200, 400, 600, 1000])
    expect(starts({ windows: { r: { limit: 3, per: 100 * milli } } }, arrivals(1, 2, 3, 1))).toEqual([0, 0, 100, 200])
  })
})
