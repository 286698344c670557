/** What a task may return: a value, a promise, or any thenable, whether or not it behaves like a promise. */
/* oxlint-disable unicorn/no-thenable -- thenables are what is tested */
import { Cause, Effect, Exit, Option } from "effect"
import { describe, expect, it } from "vitest"
import { amap, createMeter, runAll, runAny } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  now,
  overItems,
  pass,
  settle,
  sleep,
  tasksOf,
  useVirtualTime,
  value,
  verbs
} from "./support.ts"
import type { Verb } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

type Settle = (value?: unknown) => void

const thenable = (then: (resolve: Settle, reject: Settle) => void): unknown => ({ then })

/** A subclass of Promise whose `then` calls its callback twice before it returns. */
class Impatient extends Promise<unknown> {
  outcome: unknown
  isFailure = false

  static of(outcome: unknown, isFailure = false): Impatient {
    return Object.assign(new Impatient(() => {}), { outcome, isFailure })
  }

  override then(resolve?: unknown, reject?: unknown): never {
    const tell = (this.isFailure ? reject : resolve) as Settle
    tell(this.outcome)
    tell(this.outcome)
    return undefined as never
  }
}

/** A Promise with a `then` of its own, which does the same. */
const impatient = (outcome: unknown, isFailure = false): unknown =>
  Object.assign(Promise.resolve(), {
    then: (resolve?: unknown, reject?: unknown) => Impatient.of(outcome, isFailure).then(resolve, reject)
  })

type Way = (give: () => unknown) => Promise<{ readonly value: unknown } | { readonly reason: unknown }>

/** What the caller of a verb gets of its only task, in whatever shape the verb gives it. */
const throughVerb =
  (verb: Verb): Way =>
  async (give) => {
    const call = verb.call([0], tasksOf(give))
    const outcome = await settle(call.promise)
    if (outcome.status === "rejected") {
      return { reason: verb.failsFast ? outcome.reason : (outcome.reason as AggregateError).errors[0] }
    }
    const [delivered] = call.delivered
    return { value: verb.verb === "runAll" ? (delivered as ReadonlyArray<unknown>)[0] : delivered }
  }

const throughRun: Way = async (give) => {
  const outcome = await settle(createMeter({}).run(give))
  return outcome.status === "fulfilled" ? { value: outcome.value } : { reason: outcome.reason }
}

const runAllOfItems = verbs.find(({ name }) => name === "runAll over items")!

const expectResult = async (way: Way, give: () => unknown, value: unknown): Promise<void> => {
  const outcome = await way(give)
  expect(outcome).toHaveProperty("value")
  expect(Object.values(outcome)[0]).toBe(value)
}

const expectFailure = async (way: Way, give: () => unknown, reason: unknown): Promise<void> => {
  const outcome = await way(give)
  expect(outcome).toHaveProperty("reason")
  expect(Object.values(outcome)[0]).toBe(reason)
}

const same = { same: true }
const bad = { bad: true }

const results: ReadonlyArray<readonly [string, () => unknown, unknown]> = [
  ["a plain value", () => same, same],
  ["undefined", () => undefined, undefined],
  ["null", () => null, null],
  ["a promise", () => Promise.resolve(same), same],
  ["a promise of a promise", () => Promise.resolve(Promise.resolve(same)), same],
  ["a thenable that resolves before then() returns", () => thenable((resolve) => resolve(same)), same],
  ["a thenable that resolves later", () => thenable((resolve) => setTimeout(() => resolve(same), 10)), same],
  [
    "a thenable that resolves twice",
    () =>
      thenable((resolve) => {
        resolve(same)
        resolve("again")
        setTimeout(() => resolve("later"), 5)
      }),
    same
  ],
  [
    "a thenable that resolves, then rejects",
    () =>
      thenable((resolve, reject) => {
        resolve(same)
        reject(bad)
      }),
    same
  ],
  [
    "a thenable that resolves, then throws",
    () =>
      thenable((resolve) => {
        resolve(same)
        throw bad
      }),
    same
  ],
  [
    "a thenable that resolves with a thenable",
    () => thenable((resolve) => resolve(thenable((inner) => setTimeout(() => inner(same), 5)))),
    same
  ],
  ["a promise that resolves with a thenable", () => Promise.resolve(thenable((resolve) => resolve(same))), same],
  ["a subclass of Promise whose then calls back synchronously", () => Impatient.of(same), same],
  ["a Promise with a then of its own, which calls back synchronously", () => impatient(same), same],
  ["a function with a then", () => Object.assign(() => {}, { then: (resolve: Settle) => resolve(same) }), same]
]

const failures: ReadonlyArray<readonly [string, () => unknown]> = [
  ["a subclass of Promise whose then calls back synchronously", () => Impatient.of(bad, true)],
  ["a Promise with a then of its own, which calls back synchronously", () => impatient(bad, true)],
  ["a thenable that rejects before then() returns", () => thenable((_, reject) => reject(bad))],
  ["a thenable that rejects later", () => thenable((_, reject) => setTimeout(() => reject(bad), 10))],
  [
    "a thenable that rejects, then resolves",
    () =>
      thenable((resolve, reject) => {
        reject(bad)
        resolve(same)
      })
  ],
  [
    "a thenable whose then() throws",
    () =>
      thenable(() => {
        throw bad
      })
  ],
  [
    "an object with a getter for then that throws",
    () =>
      Object.defineProperty({}, "then", {
        get: () => {
          throw bad
        }
      })
  ],
  ["a thenable that resolves with a rejected promise", () => thenable((resolve) => resolve(Promise.reject(bad)))]
]

const values: ReadonlyArray<readonly [string, unknown]> = [
  ["an Effect", Effect.succeed(1)],
  ["a failed Effect", Effect.fail("bad")],
  ["a failed Exit", Exit.fail("bad")],
  ["a Cause", Cause.fail("bad")],
  ["an Option", Option.none()],
  ["an object whose then is not a function", { then: 1 }],
  ["an Error that is not thrown", new Error("a value")],
  ["an array of promises", [Promise.resolve(1)]],
  ["a function", () => 1]
]

describe.each([
  ["runAll", throughVerb(runAllOfItems)],
  ["meter.run", throughRun]
] as const)("a task of %s that returns", (_, way) => {
  it.each(results)("%s succeeds with its result", (_, give, expected) => expectResult(way, give, expected))
  it.each(failures)("%s fails with its reason", (_, give) => expectFailure(way, give, bad))
  it.each(values)("%s succeeds with that value", (_, given) => expectResult(way, () => given, given))
})

it.each(verbs)("$name treats the results of its tasks in the same way", async (verb) => {
  const way = throughVerb(verb)
  // `runOnEach` has no results.
  const result = (value: unknown): unknown => (verb.verb === "runOnEach" ? undefined : value)
  for (const [, give, expected] of results) await expectResult(way, give, result(expected))
  for (const [, give] of failures) await expectFailure(way, give, bad)
  for (const [, given] of values) await expectResult(way, () => given, result(given))
})

describe("a thenable that settles twice", () => {
  it("gives one result and releases one permit", async () => {
    let running = 0
    let peak = 0
    const results = await value(
      Array.fromAsync(
        amap(
          [0, 1, 2, 3, 4, 5],
          (n) => {
            running += 1
            peak = Math.max(peak, running)
            return {
              then: (resolve: (value: number) => void) => {
                setTimeout(() => {
                  running -= 1
                  resolve(n)
                  resolve(n)
                }, 10)
              }
            } as PromiseLike<number>
          },
          { maxAtOnce: 2 }
        )
      )
    )
    expect(results).toEqual([0, 1, 2, 3, 4, 5])
    expect(peak).toBe(2)
  })

  it("releases one permit under meter.run", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let running = 0
    let peak = 0
    const run = () =>
      meter.run(() => {
        running += 1
        peak = Math.max(peak, running)
        return {
          then: (resolve: (value: number) => void) => {
            setTimeout(() => {
              running -= 1
              resolve(1)
              resolve(1)
            }, 10)
          }
        } as PromiseLike<number>
      })
    expect(await value(Promise.all([run(), run(), run(), run()]))).toEqual([1, 1, 1, 1])
    expect(peak).toBe(1)
  })
})

describe("a source whose next() returns thenables", () => {
  it.each([
    ["at once", (answer: () => void) => answer()],
    ["later", (answer: () => void) => void setTimeout(answer, 5)]
  ])("that resolve %s is read to its end", async (_, when) => {
    let n = 0
    const items = {
      [Symbol.asyncIterator]: () => ({
        next: () => ({
          then: (resolve: Settle) => {
            when(() => resolve(n < 3 ? { done: false, value: n++ } : { done: true, value: undefined }))
          }
        })
      })
    } as unknown as AsyncIterable<number>
    expect(await value(runAll(items, (item) => item))).toEqual([0, 1, 2])
    n = 0
    expect(await value(Array.fromAsync(amap(items, (item) => item, { maxAtOnce: 1 })))).toEqual([0, 1, 2])
  })

  it.each<readonly [string, () => unknown]>([
    ["that rejects at once", () => thenable((_, reject) => reject(bad))],
    [
      "whose then() throws",
      () =>
        thenable(() => {
          throw bad
        })
    ],
    [
      "with a result whose done throws",
      () =>
        Promise.resolve(
          Object.defineProperty({}, "done", {
            get: () => {
              throw bad
            }
          })
        )
    ],
    [
      "with a result whose value throws",
      () =>
        Promise.resolve(
          Object.defineProperty({ done: false }, "value", {
            get: () => {
              throw bad
            }
          })
        )
    ]
  ])("one %s fails the call with that reason, without a call of return()", async (_, next) => {
    for (const verb of overItems) {
      let returns = 0
      const items = {
        [Symbol.asyncIterator]: () => ({
          next,
          return: () => {
            returns += 1
            return Promise.resolve({ done: true, value: undefined })
          }
        })
      } as unknown as AsyncIterable<number>
      const outcome = await settle(
        verb.call(
          items,
          tasksOf(() => 1)
        ).promise
      )
      expect(outcome, verb.name).toMatchObject({ status: "rejected", reason: bad })
      expect(returns, verb.name).toBe(0)
    }
  })
})

describe("tasks that never return a promise", () => {
  it("start at the rate of maxPerSecond", async () => {
    const starts: Array<number> = []
    await value(
      runAll(
        [0, 1, 2, 3],
        () => {
          starts.push(now())
        },
        { maxPerSecond: 10 }
      )
    )
    expect(starts).toEqual([0, 100, 200, 300])
  })

  it("win runAny at once, and later tasks do not start", async () => {
    const started: Array<number> = []
    const call = runAny([0, 1, 2], (n) => {
      started.push(n)
      return n
    })
    expect(await value(call)).toBe(0)
    expect(started).toEqual([0])
  })

  it("win runAny against tasks that were listed before them", async () => {
    expect(await value(runAny([() => sleep(50).then(() => "slow"), () => "plain"]))).toBe("plain")
    await pass(50)
  })
})
