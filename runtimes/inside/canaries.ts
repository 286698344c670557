/**
 * Tests of which most have to fail, each for its own reason. They run before the others in every host: one that passes
 * here means that the host, or its replacement of Node's parts, would hide a failure of the real tests.
 */
import { describe, expect, it } from "vitest"
import {
  expectNoUnhandledRejection,
  flush,
  listeners,
  now,
  pass,
  settle,
  sleep,
  useVirtualTime
} from "../../packages/promise/test/support.ts"
import { performanceOrigin, process } from "./platform.ts"

/** What each has to come to: nothing where it has to pass, how its error begins where it has to fail. */
export const expected: Readonly<Record<string, string | undefined>> = {
  "an assertion that holds": undefined,
  "an assertion that does not hold": "expected 1 to be 2",
  "a table > row 1": undefined,
  "a table > row 2": "expected 2 to be 1",
  "no assertion": "expected any number of assertion",
  "a throw": "thrown",
  "a rejection": "rejected",
  "no end": "Test timed out",
  "a listener that is gone": undefined,
  "a listener that is left": "expected 1 to be +0",
  "an uncaught error is seen": undefined,
  "virtual time > stands still by itself": undefined,
  "virtual time > goes by to the millisecond": undefined,
  "virtual time > a promise that never settles": "stuck at",
  "unhandled rejections > none": undefined,
  "unhandled rejections > one": "unhandled rejections: expected [ 'nobody looks' ]"
}

/** What the run has to notice besides. */
export const stray = "nobody looks"

it("an assertion that holds", () => {
  expect(1).toBe(1)
})

it("an assertion that does not hold", () => {
  expect(1).toBe(2)
})

describe.each(["a table"])("%s", () => {
  it.each([1, 2])("row %i", (n) => {
    expect(n).toBe(1)
  })
})

it("no assertion", () => {})

it("a throw", () => {
  expect(1).toBe(1)
  throw new Error("thrown")
})

it("a rejection", async () => {
  expect(1).toBe(1)
  await flush()
  throw new Error("rejected")
})

it("no end", { timeout: 20 }, () => {
  expect(1).toBe(1)
  return new Promise<void>(() => {})
})

it("a listener that is gone", () => {
  const controller = new AbortController()
  const { signal } = controller
  const listener = () => {}
  expect(listeners(signal)).toBe(0)
  signal.addEventListener("abort", listener)
  expect(listeners(signal)).toBe(1)
  signal.removeEventListener("abort", listener)
  expect(listeners(signal)).toBe(0)
  signal.addEventListener("abort", listener, { once: true })
  expect(listeners(signal)).toBe(1)
  controller.abort()
  expect(listeners(signal)).toBe(0)
})

it("a listener that is left", () => {
  const { signal } = new AbortController()
  signal.addEventListener("abort", () => {})
  expect(listeners(signal)).toBe(0)
})

it("an uncaught error is seen", async () => {
  const uncaught: Array<unknown> = []
  const others = process.listeners("uncaughtException")
  process.removeAllListeners("uncaughtException")
  process.on("uncaughtException", (error) => uncaught.push(error))
  queueMicrotask(() => {
    throw "uncaught"
  })
  await flush()
  process.removeAllListeners("uncaughtException")
  for (const listener of others) process.on("uncaughtException", listener)
  expect(uncaught).toEqual(["uncaught"])
})

describe("virtual time", () => {
  useVirtualTime()

  it("stands still by itself", async () => {
    const began = performance.now()
    let fired = false
    setTimeout(() => {
      fired = true
    }, 1)
    await flush()
    expect(now()).toBe(0)
    expect(performance.now()).toBe(began)
    expect(fired).toBe(false)
  })

  it("goes by to the millisecond", async () => {
    const began = performance.now()
    const fired: Array<number> = []
    for (const ms of [1, 999, 1000]) setTimeout(() => fired.push(now()), ms)
    await pass(999)
    expect(fired).toEqual([1, 999])
    await pass(1)
    expect(fired).toEqual([1, 999, 1000])
    expect(performance.now() - began).toBe(1000)
    // No more than there is room for, so that nanoseconds are whole as well.
    expect(Number.isSafeInteger(performance.now() * 1_000_000)).toBe(true)
    expect(performanceOrigin).toBeGreaterThanOrEqual(0)
  })

  it("a promise that never settles", async () => {
    expect(await settle(sleep(10))).toMatchObject({ at: 10 })
    await settle(new Promise(() => {}))
  })
})

describe("unhandled rejections", () => {
  expectNoUnhandledRejection()

  it("none", async () => {
    const handled = Promise.reject(new Error("somebody looks"))
    await expect(handled).rejects.toThrow("somebody looks")
  })

  it("one", () => {
    expect(1).toBe(1)
    void Promise.reject(stray)
  })
})
