/** Events while a call that has been decided waits for its cancelled tasks. */
import { describe, expect, it } from "vitest"
import { createMeter } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  listeners,
  overItems,
  pass,
  probe,
  useVirtualTime,
  verbs,
  watch
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** Gives one item at once and answers the second `next()` after 50 ms. */
const slowSource = (answer: () => IteratorResult<number>) => {
  const counts = { pulls: 0, returns: 0 }
  const iterable: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        counts.pulls += 1
        if (counts.pulls === 1) return Promise.resolve({ done: false, value: 0 })
        return new Promise((resolve, reject) => {
          setTimeout(() => {
            try {
              resolve(answer())
            } catch (error) {
              reject(error)
            }
          }, 50)
        })
      },
      return: () => {
        counts.returns += 1
        return Promise.resolve({ done: true, value: undefined })
      }
    })
  }
  return { counts, iterable }
}

const answers: ReadonlyArray<{
  readonly what: string
  readonly answer: () => IteratorResult<number>
  readonly returns: number
}> = [
  { what: "ends: it is not closed any more", answer: () => ({ done: true, value: undefined }), returns: 0 },
  {
    what: "throws: it is not closed any more, and what it throws is nobody's business",
    answer: () => {
      throw "too late"
    },
    returns: 0
  },
  {
    what: "gives an item: no task starts for it, and it is closed",
    answer: () => ({ done: false, value: 1 }),
    returns: 1
  }
]

describe.each(overItems)("$name, aborted and waiting out its grace", (verb) => {
  it.each(answers)("the source $what", async ({ answer, returns }) => {
    const meter = createMeter({ maxAtOnce: 2 })
    const { counts, iterable } = slowSource(answer)
    const controller = new AbortController()
    const p = probe(() => ({ ms: 200, deaf: true }))
    const call = watch(verb.call(iterable, p, { meter, signal: controller.signal, grace: 1000 }).promise)
    await pass(10)
    controller.abort("stop")
    await pass(100)
    // The source has answered by now, the task that runs has not settled.
    expect(call.outcome).toBeUndefined()
    await pass(200)
    expect(call.outcome).toEqual({ status: "rejected", reason: "stop", at: 200 })
    expect(p.order).toEqual([0])
    expect(counts).toEqual({ pulls: 2, returns })
    expect(listeners(controller.signal)).toBe(0)
    await expectFree(meter, 2)
  })
})

describe.each(verbs)("$name, decided and waiting out its grace", (verb) => {
  it("an abort that comes now changes nothing any more", async () => {
    const meter = createMeter({ maxAtOnce: 3 })
    const controller = new AbortController()
    const decides = verb.failsFast ? { rejects: { reason: "failed" } } : { value: "won" }
    const p = probe((i) => (i === 1 ? { ms: 10, ...decides } : { ms: 200, deaf: true }))
    const { delivered, promise } = verb.call([0, 1], p, { meter, signal: controller.signal, grace: 1000 })
    const call = watch(promise)
    await pass(50)
    expect(p.cancelled()).toEqual([0])
    controller.abort("too late")
    await pass(500)
    expect(call.outcome).toMatchObject(
      verb.failsFast ? { status: "rejected", reason: "failed", at: 200 } : { status: "fulfilled", at: 200 }
    )
    if (!verb.failsFast) expect(delivered).toEqual(["won"])
    expect(listeners(controller.signal)).toBe(0)
    await expectFree(meter, 3)
  })
})
