/** What a task may give back: a plain value, a promise, or anything with a `then`, however badly it behaves. */
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

useVirtualTime()
expectNoUnhandledRejection()

type Settle = (value?: unknown) => void

const thenable = (then: (resolve: Settle, reject: Settle) => void): unknown => ({ then })

/** A promise whose `then` calls back before it returns, twice. */
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

/** The same of a promise of the usual kind. */
const impatient = (outcome: unknown, isFailure = false): unknown =>
  Object.assign(Promise.resolve(), {
    then: (resolve?: unknown, reject?: unknown) => Impatient.of(outcome, isFailure).then(resolve, reject)
  })

/** A result in the shape in which each verb hands it over. */
const expectResult = async (verb: (typeof verbs)[number], give: () => unknown, expected: unknown): Promise<void> => {
  const call = verb.call([0], tasksOf(give))
  const outcome = await settle(call.promise)
  expect(outcome.status === "rejected" ? outcome.reason : undefined).toBeUndefined()
  expect(outcome.status).toBe("fulfilled")
  if (verb.verb === "runOnEach") expect(call.delivered).toEqual([undefined])
  else {
    const [delivered] = call.delivered
    const result = verb.verb === "runAll" ? (delivered as ReadonlyArray<unknown>)[0] : delivered
    expect(Object.is(result, expected)).toBe(true)
  }
}

const expectRejection = async (verb: (typeof verbs)[number], give: () => unknown, expected: unknown): Promise<void> => {
  const outcome = await settle(verb.call([0], tasksOf(give)).promise)
  if (outcome.status === "fulfilled") throw new Error("expected a rejection")
  const caught =
    verb.verb === "runAny" && !verb.failsFast ? (outcome.reason as AggregateError).errors[0] : outcome.reason
  expect(Object.is(caught, expected)).toBe(true)
}

const same = { same: true }
const bad = { bad: true }

describe.each(verbs)("$name", (verb) => {
  it.each<readonly [string, () => unknown, unknown]>([
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
    ["a promise of another kind, whose then calls back at once", () => Impatient.of(same), same],
    ["a promise with a then of its own, which calls back at once", () => impatient(same), same],
    ["a function with a then", () => Object.assign(() => {}, { then: (resolve: Settle) => resolve(same) }), same]
  ])("%s is a result", (_, give, expected) => expectResult(verb, give, expected))

  it.each<readonly [string, () => unknown]>([
    ["a promise of another kind, whose then calls back at once", () => Impatient.of(bad, true)],
    ["a promise with a then of its own, which calls back at once", () => impatient(bad, true)],
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
      "an object whose then throws when it is looked at",
      () =>
        Object.defineProperty({}, "then", {
          get: () => {
            throw bad
          }
        })
    ],
    ["a thenable that resolves with a rejected promise", () => thenable((resolve) => resolve(Promise.reject(bad)))]
  ])("%s is a failure", (_, give) => expectRejection(verb, give, bad))

  it.each<readonly [string, unknown]>([
    ["an Effect", Effect.succeed(1)],
    ["a failed Effect", Effect.fail("bad")],
    ["a failed Exit", Exit.fail("bad")],
    ["a Cause", Cause.fail("bad")],
    ["an Option", Option.none()],
    ["an object whose then is no function", { then: 1 }],
    ["an Error that is not thrown", new Error("a value")],
    ["an array of promises", [Promise.resolve(1)]],
    ["a function", () => 1]
  ])("%s is a value like any other", (_, given) => expectResult(verb, () => given, given))
})

describe("a thenable that settles twice", () => {
  it("is one result, and frees one place", async () => {
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

  it("under meter.run frees one place as well", async () => {
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

describe("a source that gives thenables for promises", () => {
  const results = [0, 1, 2]

  it.each([
    ["at once", (answer: () => void) => answer()],
    ["later", (answer: () => void) => void setTimeout(answer, 5)]
  ])("that answer %s is read to its end", async (_, when) => {
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
    expect(await value(runAll(items, (item) => item))).toEqual(results)
    n = 0
    expect(await value(Array.fromAsync(amap(items, (item) => item, { maxAtOnce: 1 })))).toEqual(results)
  })

  it.each<readonly [string, () => unknown]>([
    ["rejects at once", () => thenable((_, reject) => reject(bad))],
    [
      "throws from then()",
      () =>
        thenable(() => {
          throw bad
        })
    ],
    [
      "has a result whose done throws",
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
      "has a result whose value throws",
      () =>
        Promise.resolve(
          Object.defineProperty({ done: false }, "value", {
            get: () => {
              throw bad
            }
          })
        )
    ]
  ])("one that %s fails the call with the very value, without a return()", async (_, next) => {
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
  it("are limited by the pace all the same", async () => {
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

  it("win a race at once, and later ones do not start", async () => {
    const started: Array<number> = []
    const call = runAny([0, 1, 2], (n) => {
      started.push(n)
      return n
    })
    expect(await value(call)).toBe(0)
    expect(started).toEqual([0])
  })

  it("win a race against tasks that were listed before them", async () => {
    expect(await value(runAny([() => sleep(50).then(() => "slow"), () => "plain"]))).toBe("plain")
    await pass(50)
  })
})
