/**
 * A call without meters asks its own limits directly (`OwnRequest`), a call with meters asks limiters (`RunRequest`). Where the
 * limits are the same, both must do the same, at the same instants and in the same order.
 */
import fc from "fast-check"
import { describe, expect, it, vi } from "vitest"
import { RunRequest } from "../../fibermeter/src/internal/admission/runRequest.ts"
import type { Limits } from "../../fibermeter/src/internal/input/limits.ts"
import { OneRequestLimiter } from "../../fibermeter/src/internal/limits/sharing.ts"
import type { Run } from "../../fibermeter/src/internal/run/run.ts"
import { amap, runAll, runOnEach } from "../src/index.ts"
import type { Options, TaskContext } from "../src/index.ts"
import { expectNoUnhandledRejection, flush, now, pass, sleep, useVirtualTime, watch } from "./support.ts"

const general = vi.hoisted(() => ({ isUsed: false, made: 0 }))

const generalRequest = (run: Run<any, any, any>, limits: Limits): object => {
  general.made++
  const limiter = new OneRequestLimiter(limits)
  const request = new RunRequest(run, [limiter], [], undefined)
  return Object.assign(request, { pause: (nanos: number) => limiter.pause(run.host, nanos) })
}

vi.mock(import("../../fibermeter/src/internal/run/ownRequest.ts"), async (original) => {
  const { OwnRequest } = await original()
  return {
    OwnRequest: function (run: Run<any, any, any>, limits: Limits) {
      return general.isUsed ? generalRequest(run, limits) : new OwnRequest(run, limits)
    } as unknown as typeof OwnRequest
  }
})

useVirtualTime()
expectNoUnhandledRejection()

interface Item {
  readonly kind: "value" | "blocks" | "asks for a pause" | "sleep" | "throw" | "fails first" | "refunds" | "spends more"
  readonly ms: number
  readonly cost: number
}

interface Program {
  readonly verb: "runOnEach" | "runAll" | "amap" | "amap, ordered"
  readonly items: ReadonlyArray<Item>
  readonly maxAtOnce: number | undefined
  readonly maxPerSecond: number | undefined
  readonly maxBurst: number | undefined
  readonly window: number | undefined
  readonly permits: number | undefined
  readonly retry: boolean
  readonly timeout: number | undefined
  readonly maxUnread: number | undefined
  /** Between two reads of a stream. */
  readonly readerMs: number
  /** Between two items of the source. */
  readonly sourceMs: number
  readonly abortAt: number | undefined
}

const sometimes = <A>(of: fc.Arbitrary<A>): fc.Arbitrary<A | undefined> => fc.option(of, { nil: undefined, freq: 2 })

const items: fc.Arbitrary<ReadonlyArray<Item>> = fc.array(
  fc.record({
    // Most calls should come to their end.
    kind: fc.oneof(
      {
        weight: 12,
        arbitrary: fc.constantFrom<Item["kind"]>("value", "sleep", "sleep", "blocks", "refunds", "spends more")
      },
      { weight: 2, arbitrary: fc.constantFrom<Item["kind"]>("fails first", "asks for a pause") },
      { weight: 1, arbitrary: fc.constant<Item["kind"]>("throw") }
    ),
    ms: fc.nat(60),
    cost: fc.constantFrom(0, 1, 1, 2, 3)
  }),
  { maxLength: 14 }
)

const programs: fc.Arbitrary<Program> = fc.record({
  verb: fc.constantFrom("runOnEach", "runAll", "amap", "amap, ordered"),
  items,
  maxAtOnce: sometimes(fc.integer({ min: 1, max: 4 })),
  maxPerSecond: sometimes(fc.constantFrom(3, 20, 50, 1000)),
  maxBurst: sometimes(fc.integer({ min: 1, max: 4 })),
  window: sometimes(fc.integer({ min: 2, max: 4 })),
  permits: sometimes(fc.integer({ min: 1, max: 3 })),
  retry: fc.boolean(),
  timeout: sometimes(fc.integer({ min: 10, max: 50 })),
  maxUnread: sometimes(fc.integer({ min: 1, max: 3 })),
  readerMs: fc.constantFrom(0, 0, 30),
  sourceMs: fc.constantFrom(0, 0, 15),
  abortAt: sometimes(fc.integer({ min: 0, max: 400 }))
})

/** All that can be observed of a call, with the instants. */
const observe = async (program: Program, isGeneral: boolean): Promise<ReadonlyArray<string>> => {
  const { abortAt, items, maxAtOnce, maxBurst, maxPerSecond, maxUnread, permits, readerMs, retry, sourceMs, window } =
    program
  const began = now()
  general.isUsed = isGeneral
  const seen: Array<string> = []
  const note = (line: string): void => void seen.push(`${now() - began} ${line}`)
  const attempts = new Map<Item, number>()
  const task = async (item: Item, { correct, index, signal }: TaskContext): Promise<number> => {
    const attempt = (attempts.get(item) ?? 0) + 1
    attempts.set(item, attempt)
    note(`start ${index}`)
    signal.addEventListener("abort", () => note(`abort ${index}`))
    // The time passes, but no timer fires.
    if (item.kind === "blocks") vi.setSystemTime(Date.now() + item.ms)
    if (item.kind === "sleep") await sleep(item.ms, signal)
    if (item.kind === "refunds" && window !== undefined) correct({ units: 0 })
    if (item.kind === "spends more" && window !== undefined) correct({ units: 2 })
    if (item.kind === "fails first" && attempt === 1) throw new Error(`first of ${index}`)
    if (item.kind === "asks for a pause" && attempt === 1) {
      throw Object.assign(new Error(`pause of ${index}`), { headers: { "retry-after-ms": String(20 + item.ms) } })
    }
    if (item.kind === "throw") throw new Error(`of ${index}`)
    return index
  }
  /** Ends at once, without a promise. */
  const anyTask = (item: Item, context: TaskContext): number | Promise<number> => {
    if (item.kind !== "value") return task(item, context)
    note(`start ${context.index}`)
    return context.index
  }
  const controller = new AbortController()
  const source = async function* (): AsyncGenerator<Item> {
    for (const [index, item] of items.entries()) {
      await sleep(sourceMs)
      note(`pull ${index}`)
      yield item
    }
  }
  const options: Options = {
    ...(maxAtOnce === undefined ? {} : { maxAtOnce }),
    ...(maxPerSecond === undefined ? {} : { maxPerSecond }),
    ...(maxPerSecond === undefined || maxBurst === undefined ? {} : { maxBurst }),
    ...(window === undefined ? {} : { windows: { units: { limit: window, per: 100 } } }),
    ...(permits === undefined ? {} : { permits }),
    ...(retry ? { retry: { times: 2, delay: 25 } } : {}),
    ...(program.timeout === undefined ? {} : { timeout: program.timeout }),
    signal: controller.signal
  }
  const weighed = window === undefined ? options : { ...options, cost: ({ cost }: Item) => ({ units: cost }) }
  const over = sourceMs === 0 ? items : source()
  const read = async (ordered: boolean): Promise<void> => {
    const results = amap(over, anyTask, { ...weighed, ordered, ...(maxUnread === undefined ? {} : { maxUnread }) })
    for await (const result of results) {
      note(`read ${result}`)
      if (readerMs > 0) await sleep(readerMs)
    }
  }
  const call = watch<unknown>(
    program.verb === "runOnEach"
      ? runOnEach(over, anyTask, weighed)
      : program.verb === "runAll"
        ? runAll(over, anyTask, weighed)
        : read(program.verb === "amap, ordered")
  )
  if (abortAt !== undefined) setTimeout(() => controller.abort("aborted"), abortAt)
  for (let i = 0; i < 60 && call.outcome === undefined; i++) await pass(250)
  await flush()
  const { outcome } = call
  note(outcome === undefined ? "pending" : `${outcome.status} at ${outcome.at - began}`)
  if (outcome?.status === "rejected") note(String(outcome.reason))
  if (outcome?.status === "fulfilled") note(JSON.stringify(outcome.value))
  // Tasks that were cancelled may go on.
  return Array.from(seen)
}

/** By default the same programs in each run; others, and more, by `RANDOM_SEED=7 RANDOM_PROGRAMS=10000 vitest run …`. */
const numRuns = Number(process.env["RANDOM_PROGRAMS"] ?? 2000)
const seed = Number(process.env["RANDOM_SEED"] ?? 20_261_128)

const drawn = fc.sample(programs, { numRuns, seed })

/** By program. Each in one test, so that the clock is the same. */
const logs: Array<ReadonlyArray<string>> = []

it("by default, twice as many results may be unread as tasks may run", async () => {
  general.isUsed = false
  const started: Array<number> = []
  const results = amap(Array(20).keys(), (n) => started.push(n), { maxAtOnce: 2, maxPerSecond: 1000 })
  void results.next()
  await pass(1000)
  expect(started).toEqual([0, 1, 2, 3, 4])
  await results.return()
})

describe("random calls", () => {
  it("by OwnRequest: something of each kind happens, and all calls end", { timeout: 0 }, async () => {
    for (const program of drawn) logs.push(await observe(program, false))
    const kinds = new Set(logs.flat().map((line) => line.split(" ")[1]!))
    for (const kind of ["start", "abort", "pull", "read", "fulfilled", "rejected"]) expect(kinds).toContain(kind)
    expect(kinds).not.toContain("pending")
    expect(general.made).toBe(0)
  })

  it("do the same by RunRequest", { timeout: 0 }, async () => {
    for (const [index, program] of drawn.entries()) {
      expect({ program, log: await observe(program, true) }).toEqual({ program, log: logs[index] })
    }
    expect(general.made).toBeGreaterThan(numRuns / 3)
  })
})
