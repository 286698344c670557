/**
 * The timers, clocks and later turns of the event loop that calls use: a host with a clock of its own, which has none of
 * the marks of fakes and so counts as genuine.
 */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type * as facade from "../src/index.ts"

const load = (): Promise<typeof facade> => import("../src/index.ts")

const immediate = globalThis.setImmediate
const settle = async (): Promise<void> => {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => void immediate(resolve))
}

beforeEach(() => {
  vi.resetModules()
})
afterEach(() => {
  vi.unstubAllGlobals()
})

/** Timers that fire on request. */
class Timers {
  readonly waits: Array<number> = []
  readonly cleared: Array<number> = []
  private readonly callbacks: Array<() => void> = []

  /** Replaces the present ones. */
  install(): this {
    vi.stubGlobal("setTimeout", (f: () => void, millis: number) => {
      this.callbacks.push(f)
      return this.waits.push(millis) - 1
    })
    vi.stubGlobal("clearTimeout", (handle: number) => void this.cleared.push(handle))
    return this
  }

  fire(index: number): void {
    this.callbacks[index]!()
  }
}

describe("timers", () => {
  let time: number

  beforeEach(() => {
    time = 0
    vi.stubGlobal("performance", { now: () => time })
  })

  it("a wait that is longer than a timer can be takes several", async () => {
    const timers = new Timers().install()
    const { runAll } = await load()
    const call = runAll([1], () => new Promise(() => {}), { timeout: 2 ** 31 + 999 })
    const ended = call.catch((error: Error) => error.name)
    await settle()
    expect(timers.waits).toEqual([2 ** 31 - 1])
    timers.fire(0)
    expect(timers.waits).toEqual([2 ** 31 - 1, 1000])
    timers.fire(1)
    expect(await ended).toBe("TimeoutError")
  })

  it("a wait without an end sets no timer", async () => {
    const timers = new Timers().install()
    const { createMeter, runAll } = await load()
    expect(await runAll([1], async (n) => n, { timeout: Infinity, grace: Infinity })).toEqual([1])
    expect(await createMeter({}).run(async () => 1, { timeout: Infinity, grace: Infinity })).toBe(1)
    expect(timers.waits).toEqual([])
  })

  it("a replacement without marks beside real clocks is genuine: the clock continues, and no timer is lost", async () => {
    const before = new Timers().install()
    const { createMeter } = await load()
    const meter = createMeter({ maxPerSecond: 10 })
    const starts: Array<number> = []
    const calls = Promise.all([1, 2, 3].map(() => meter.run(() => void starts.push(time))))
    await settle()
    expect(before.waits).toEqual([100])
    const after = new Timers().install()
    time = 30
    const late = meter.run(() => void starts.push(time))
    await settle()
    expect(after.waits).toEqual([])
    time = 100
    before.fire(0)
    await settle()
    // As late as a busy machine may be: it is the clock that says so, not the number of timers that have fired.
    expect(after.waits).toEqual([100])
    time = 230
    after.fire(0)
    await settle()
    expect(after.waits).toEqual([100, 90])
    time = 320
    after.fire(1)
    await Promise.all([calls, late])
    expect(starts).toEqual([0, 100, 230, 320])
  })

  it("a timer that was armed before a replacement without marks is cleared by what belongs to it", async () => {
    const before = new Timers().install()
    const { runAll } = await load()
    const task = Promise.withResolvers<string>()
    const call = runAll([1], () => task.promise, { timeout: 50 })
    await settle()
    const after = new Timers().install()
    task.resolve("in time")
    expect(await call).toEqual(["in time"])
    expect([before.cleared, after.cleared]).toEqual([[0], []])
  })

  it("a timer that fires after it was called off does nothing", async () => {
    const timers = new Timers().install()
    const { host } = await import("../src/internal/host.ts")
    let fired = 0
    const sleep = () => host().sleep(host().clock, 5_000_000, () => void fired++)
    sleep().cancel()
    sleep()
    timers.fire(0)
    expect(fired).toBe(0)
    timers.fire(1)
    expect(fired).toBe(1)
  })

  it("a lost timer is not cleared: its handle may be another timer's by now", async () => {
    vi.useFakeTimers()
    const { runAll } = await load()
    const task = Promise.withResolvers<string>()
    const call = runAll([1], () => task.promise, { timeout: 50 })
    await settle()
    const fake = vi.spyOn(globalThis, "clearTimeout")
    vi.useRealTimers()
    task.resolve("in time")
    expect(await call).toEqual(["in time"])
    expect(fake).not.toHaveBeenCalled()
  })
})

it("where only performance is a fake, real timers decide", async () => {
  vi.useFakeTimers({ toFake: ["performance"] })
  const { runAll } = await load()
  const results = await runAll([1, 2, 3], (n) => n, { maxPerSecond: 1000 })
  vi.useRealTimers()
  expect(results).toEqual([1, 2, 3])
})

describe("later turns of the event loop", () => {
  const many = Array.from({ length: 50_000 }, (_, i) => i)

  /** How a hidden tab has its timers. */
  const throttle = (): { timers: number } => {
    const counts = { timers: 0 }
    const { setTimeout } = globalThis
    vi.stubGlobal("setTimeout", (f: () => void, millis: number) => {
      counts.timers++
      return setTimeout(f, Math.max(millis, 1000))
    })
    return counts
  }

  it("in a hidden tab, which throttles timers and has no setImmediate, an unlimited call takes no timer", async () => {
    const counts = throttle()
    let messages = 0
    vi.stubGlobal("setImmediate", undefined)
    vi.stubGlobal(
      "MessageChannel",
      class extends MessageChannel {
        constructor() {
          super()
          const { port2 } = this
          const post = port2.postMessage.bind(port2)
          port2.postMessage = (message: unknown) => {
            messages++
            post(message)
          }
        }
      }
    )
    const { runAll } = await load()
    expect(await runAll(many, async (n) => n)).toEqual(many)
    expect(counts.timers).toBe(0)
    // At the latest after 16,384 starts.
    expect(messages).toBeGreaterThanOrEqual(3)
  })

  it("by messages, where ports have nothing that keeps a process alive", async () => {
    let messages = 0
    vi.stubGlobal("setImmediate", undefined)
    vi.stubGlobal(
      "MessageChannel",
      class {
        private listener: (() => void) | undefined
        readonly port1 = {
          addEventListener: (_: string, listener: () => void) => void (this.listener = listener),
          start: () => {}
        }
        readonly port2 = {
          postMessage: () => {
            messages++
            immediate(() => this.listener!())
          }
        }
      }
    )
    const { runAll } = await load()
    expect(await Promise.all([1, 2].map(() => runAll(many, async (n) => n)))).toEqual([many, many])
    expect(messages).toBeGreaterThanOrEqual(3)
  })

  it.each<readonly [string, string, unknown]>([
    ["where there are no messages either", "MessageChannel", undefined],
    ["on Cloudflare Workers, where messages arrive without a turn of the event loop", "WebSocketPair", () => undefined]
  ])("%s, by timers", async (_, name, value) => {
    vi.stubGlobal("setImmediate", undefined)
    vi.stubGlobal(name, value)
    const { setTimeout } = globalThis
    let timers = 0
    vi.stubGlobal("setTimeout", (f: () => void, millis: number) => {
      timers++
      return setTimeout(f, millis)
    })
    const { runAll } = await load()
    expect(await runAll(many, async (n) => n)).toEqual(many)
    expect(timers).toBeGreaterThanOrEqual(3)
  })
})

describe("a process that used the package ends by itself", () => {
  const index = join(import.meta.dirname, "../src/index.ts")
  const sinon = import.meta.resolve("@sinonjs/fake-timers")
  const use = `{
    const { createMeter, runAll } = await import(${JSON.stringify(index)})
    const meter = createMeter({ maxAtOnce: 2, maxPerSecond: 1000 })
    const many = await runAll(Array.from({ length: 50_000 }, (_, i) => i), async (n) => n)
    const few = await runAll([1, 2, 3], async (n) => n, { meter, timeout: 60_000, retry: { delay: 60_000 } })
    process.stdout.write(JSON.stringify([many.length, few]))
  }`
  const programs: Readonly<Record<string, string>> = {
    "with setImmediate": use,
    "without setImmediate": `delete globalThis.setImmediate; ${use}`,
    "after Node's fakes were installed and removed": `
      import { mock } from "node:test"
      mock.timers.enable()
      const { runAll } = await import(${JSON.stringify(index)})
      void runAll([1], async (x) => x)
      void runAll([1, 2], async (x) => x, { maxPerSecond: 10 })
      mock.timers.reset()
      ${use}
    `,
    "after Sinon's fakes of everything were installed and removed": `
      import FakeTimers from ${JSON.stringify(sinon)}
      import { runAll } from ${JSON.stringify(index)}
      const clock = FakeTimers.install()
      void runAll([1], async (x) => x)
      const starts = []
      const call = runAll([1, 2, 3], () => void starts.push(clock.now), { maxPerSecond: 10 })
      await clock.runAllAsync()
      await call
      if (starts[2] - starts[0] !== 200) throw new Error(starts.join())
      clock.uninstall()
      ${use}
    `
  }

  it.each(Object.entries(programs))("%s", { timeout: 60_000 }, async (_, program) => {
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { timeout: 50_000 })
    let [out, err] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text))
    const code = await new Promise((resolve) => child.on("close", resolve))
    expect({ code, out, err }).toMatchObject({ code: 0, out: "[50000,[1,2,3]]" })
  })
})
