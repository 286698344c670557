/**
 * Tasks that end at once have a loop of their own. A call with `priority` has the loop of all other calls, and without a meter
 * `priority` changes nothing: so both must do the same.
 */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Stream } from "effect"
import type { Fiber } from "effect"
import fc from "fast-check"
import { vi } from "vitest"
import { type Progress, runAll, runOnEach } from "../src/index.ts"
import { All } from "../src/internal/results/all.ts"
import { FiberWorker } from "../src/internal/run/fiberWorker.ts"
import { FiberHost } from "../src/internal/runtime/fiberHost.ts"
import { Next } from "../src/internal/source/source.ts"
import type { Source } from "../src/internal/source/source.ts"
import { Log } from "./support/Log.ts"
import { Source as Pulled } from "./support/Source.ts"
import { verbs } from "./support/verbs.ts"

const quiet = ["value", "value that opens", "effect", "sleep", "wait"] as const
/** What may end a call. */
const ending = [
  "failure",
  "throw",
  "no effect",
  "failing effect",
  "value that interrupts",
  "effect that interrupts",
  "throw of the source",
  "source that interrupts"
] as const
type Kind = (typeof quiet | typeof ending)[number]

interface Program {
  readonly verb: number
  readonly items: ReadonlyArray<Kind>
  readonly source: "array" | "iterable" | "stream"
  readonly maxAtOnce: number | undefined
}

const programs: fc.Arbitrary<Program> = fc.record({
  verb: fc.nat(verbs.length - 1),
  items: fc
    .tuple(
      fc.array<Kind>(fc.constantFrom(...quiet), { maxLength: 8 }),
      fc.constantFrom(...ending),
      fc.nat(8),
      fc.boolean()
    )
    .map(([items, end, at, ends]) => (ends ? items.toSpliced(at, 0, end) : items)),
  source: fc.constantFrom("array", "iterable", "stream"),
  maxAtOnce: fc.constantFrom(1, 2, 3, undefined)
})

/** All that can be observed of a call, with the instants. */
const observe = async ({ items, maxAtOnce, source, verb }: Program, options: { readonly priority?: () => number }) => {
  const log = new Log()
  const gate = Deferred.makeUnsafe<void>()
  const seen: Array<unknown> = []
  let caller: Fiber.Fiber<unknown, unknown> | undefined
  const interrupt = (): void => caller!.interruptUnsafe()
  const pulled = new Pulled(items.length, (index) => {
    if (items[index] === "throw of the source") throw new Error("of the source")
    if (items[index] === "source that interrupts") interrupt()
    return items[index]!
  })
  const task = (kind: Kind, index: number): Effect.Effect<unknown, string> => {
    seen.push(`${kind} ${index} at ${log.now}`)
    const name = `t${index}`
    if (kind.endsWith("that interrupts")) interrupt()
    if (kind === "value that opens") Deferred.doneUnsafe(gate, Exit.void)
    if (kind === "throw") throw new Error(name)
    if (kind === "no effect") return name as never
    if (kind === "failure") return Effect.fail(name)
    if (kind === "failing effect") return Effect.andThen(log.task(name), Effect.fail(name))
    if (kind === "wait") return log.around(name, Deferred.await(gate))
    if (kind === "sleep") return log.task(name, 10)
    return kind.startsWith("effect") ? log.task(name) : Effect.succeed(name)
  }
  const of = {
    array: () => items,
    iterable: () => pulled,
    stream: () => Stream.fromIterable(pulled, { chunkSize: 2 })
  }[source]()
  const call = Effect.withFiber((fiber) => {
    caller = fiber
    return verbs[verb]!.run(
      of,
      task,
      { maxAtOnce, onProgress: (progress) => void seen.push(progress), ...options },
      (result) => void seen.push(result)
    )
  })
  await log.play([0, log.named("call", Effect.timeout(call, 250))])
  log.expectRest()
  const { closed, disturbed, opened, pulls } = pulled
  return {
    seen,
    starts: log.starts,
    ends: log.ends,
    exit: log.exit("call"),
    source: { closed, disturbed, opened, pulls }
  }
}

describe("the loop of tasks that end at once does what the loop of all others does", () => {
  it("with any tasks, sources and limits", async () => {
    await fc.assert(
      fc.asyncProperty(programs, async (program) => {
        expect(await observe(program, {})).toEqual(await observe(program, { priority: () => 0 }))
      }),
      { numRuns: 300 }
    )
  })

  it("with as many starts in a turn of the event loop", async () => {
    const startsPerTurn = async (options: { readonly priority?: () => number }): Promise<ReadonlySet<number>> => {
      const log = new Log()
      const firsts: Array<number> = []
      let step = 0
      const task = (_: undefined, index: number): Effect.Effect<void> => {
        if (log.world.steps !== step) firsts.push(index)
        step = log.world.steps
        return Effect.void
      }
      await log.play([0, runOnEach(Array.from<undefined>({ length: 150_000 }), task, options)])
      // The first turn has begun before the call, so its number of starts is another.
      const counts = firsts.slice(2).map((index, i) => index - firsts[i + 1]!)
      expect(counts.length).toBeGreaterThan(1)
      return new Set(counts)
    }
    const plain = await startsPerTurn({})
    expect(plain.size).toBe(1)
    expect(plain).toEqual(await startsPerTurn({ priority: () => 0 }))
  })

  it("costs are asked for, where there is nothing that they concern", async () => {
    const asked: Array<number> = []
    const cost = (n: number): Record<string, number> => {
      asked.push(n)
      return {}
    }
    await Effect.runPromise(runAll([1, 2, 3], Effect.succeed, { cost }))
    expect(asked).toEqual([1, 2, 3])
  })

  it("a source is not asked while its answer is pending", async () => {
    const log = new Log()
    const answers: Array<Next> = [Next.item, Next.pending, Next.done]
    const source: Source<string, never> = {
      item: "a",
      failure: undefined as never,
      onReady: () => {},
      next: () => answers.shift()!,
      close: (onClosed) => onClosed()
    }
    const items: Iterable<string> = Object.assign([], { "~fibermeter/source": () => source })
    const answer = Effect.sync(() => {
      expect(answers).toEqual([Next.done])
      source.onReady()
    })
    await log.play([0, log.named("call", runOnEach(items, Effect.succeed))], [10, answer])
    expect(log.ends).toEqual(["call 10"])
  })

  const overflow = new RangeError("Maximum call stack size exceeded")
  const overflows = (): never => {
    throw overflow
  }
  it.each([{}, { priority: () => 0 }])("a source that throws ends the call, with %o", async (options) => {
    const log = new Log()
    const answers = [Next.item, Next.item]
    const source: Source<string, never> = {
      item: "a",
      failure: undefined as never,
      onReady: () => {},
      next: () => {
        const answer = answers.shift()
        if (answer === undefined) throw overflow
        return answer
      },
      close: (onClosed) => onClosed()
    }
    const items: Iterable<string> = Object.assign([], { "~fibermeter/source": () => source })
    await log.play([0, log.named("call", runOnEach(items, Effect.succeed, options))])
    expect(log.exit("call")).toEqual(Exit.die(overflow))
    expect(log.ends).toEqual(["call 0"])
  })

  it.each([{}, { priority: () => 0 }])(
    "a stream that finds no room on the stack to begin ends the call, with %o",
    async (options) => {
      const log = new Log()
      const spy = vi.spyOn(FiberHost.prototype, "fork").mockImplementationOnce(overflows)
      await log.play([0, log.named("call", runOnEach(Stream.fromIterable([1, 2, 3]), Effect.succeed, options))])
      spy.mockRestore()
      expect(log.exit("call")).toEqual(Exit.die(overflow))
      expect(log.ends).toEqual(["call 0"])
    }
  )

  const places = [
    [
      "in a task",
      () => vi.spyOn(FiberWorker.prototype, "call").mockImplementationOnce(overflows),
      { started: 4, succeeded: 1, failed: 3 }
    ],
    [
      "at the end of a task",
      () => vi.spyOn(All.prototype, "succeeded").mockImplementationOnce(overflows),
      { started: 3, succeeded: 1, failed: 2 }
    ]
  ] as const

  it.each(places)("without room on the stack %s: each task is counted once", async (_, spyOn, counted) => {
    for (const options of [{}, { priority: () => 0 }]) {
      const log = new Log()
      const reports: Array<Progress> = []
      const onProgress = (progress: Progress) => void reports.push(progress)
      let spy: { readonly mockRestore: () => void } | undefined
      const tasks = [
        () => log.task("t0", 50),
        () => Effect.onInterrupt(log.task("t1", 50), () => Effect.sleep(20)),
        () => {
          // Concerns the next task, or the end of this one.
          spy = spyOn()
          return Effect.succeed("t2")
        },
        () => Effect.succeed("t3")
      ]
      const call = runAll(tasks, (task) => task(), { onProgress, ...options })
      await log.play([0, log.named("call", call)])
      spy!.mockRestore()
      expect(log.exit("call")).toEqual(Exit.die(overflow))
      expect(log.ends).toEqual(["call 20"])
      log.expectRest()
      expect(reports.at(-1)).toMatchObject({ running: 0, ...counted })
    }
  })
})
