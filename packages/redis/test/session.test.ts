/** Corners of a session that no meter reaches by itself, or only by a race. */
import { describe, expect, it } from "vitest"
import type { Answer, Message } from "../src/index.ts"
import { memoryStore, redisStore } from "../src/index.ts"
import type { Meter, MeterLimits } from "../src/session/ExternalLimit.ts"
import { meterLimits, protocolLimits } from "../src/session/meterLimits.ts"
import { readOptions } from "../src/session/options.ts"
import { Session } from "../src/session/Session.ts"

const none: MeterLimits = { maxAtOnce: Infinity, maxPerSecond: Infinity, maxBurst: 1, windows: {} }

/** A session on a store in memory, with a clock and timers by hand. */
const sessionWith = (limits: Partial<MeterLimits>, change: (answer: Answer) => Answer = (answer) => answer) => {
  let now = 0
  let wanted = 0
  const timers = new Set<{ readonly at: number; readonly f: () => void }>()
  const messages: Array<Message> = []
  const store = memoryStore()
  let sessions = 0
  const session = new Session(
    {
      exchange: async (name, message, time) => {
        messages.push(message)
        return change(await store.exchange(name, message, time))
      },
      onWake: store.onWake
    },
    "api",
    { ...none, ...limits },
    readOptions({}),
    () => `s${++sessions}`
  )
  const wish = { cost: undefined, permits: 1, wanted: 1 }
  const meter: Meter = {
    now: () => now * 1_000,
    after: (nanos, f) => {
      const timer = { at: now + nanos / 1_000, f }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    wishes: () => (wanted === 0 ? [] : [{ ...wish, wanted }]),
    wake: () => {},
    fail: () => {},
    recover: () => {},
    resized: () => {},
    interrupt: () => {},
    event: () => {}
  }
  session.attach(meter)
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
  }
  return {
    session,
    messages,
    wish,
    want: async (count: number): Promise<number> => {
      wanted = count
      session.opensIn(wish)
      await settle()
      return session.opensIn(wish)
    },
    /** Until that time in microseconds. */
    passTo: async (time: number): Promise<void> => {
      for (;;) {
        const next = [...timers].toSorted((one, other) => one.at - other.at)[0]
        if (next === undefined || next.at > time) break
        timers.delete(next)
        now = Math.max(now, next.at)
        next.f()
        await settle()
      }
      now = time
    }
  }
}

it.each([
  ["64 without a rate", { maxAtOnce: 1_000 }, 64],
  ["64 at a low rate", { maxPerSecond: 100 }, 64],
  ["as many as the rate allows in four horizons", { maxPerSecond: 1_000 }, 200]
])("a session asks for no more starts ahead than %s", async (_, limits, count) => {
  const { messages, want } = sessionWith(limits)
  await want(5_000)
  expect(messages[0]!.demand).toMatchObject([{ count }])
})

it("a task that never says that it has started counts as late as can be", async () => {
  const { messages, passTo, session, want, wish } = sessionWith({ maxPerSecond: 10, maxAtOnce: 2 })
  expect(await want(1)).toBeLessThanOrEqual(0)
  session.take(wish)
  await want(0)
  await passTo(50_000)
  expect(messages.flatMap(({ reports }) => reports)).toEqual([])
  session.ended(1)
  await passTo(200_000)
  expect(messages.flatMap(({ reports }) => reports)).toEqual([{ grant: expect.any(Number), late: 100_000, unused: 0 }])
})

it("a start that is confirmed after the lease is over concerns no later session", async () => {
  const { messages, passTo, session, want, wish } = sessionWith({ maxAtOnce: 1 })
  await want(1)
  const taken = session.take(wish)
  await want(0)
  // It stands still.
  const before = messages.length
  await passTo(0)
  session.started(taken)
  session.ended(1)
  await passTo(100_000)
  const other = sessionWith({ maxAtOnce: 1 })
  await other.want(1)
  other.session.started(taken)
  expect(messages.length).toBeGreaterThan(before)
  expect(await other.want(1)).toBeLessThanOrEqual(0)
})

it("a session that another one has overtaken begins anew", async () => {
  let isStale = true
  const { messages, want } = sessionWith({ maxAtOnce: 1 }, (answer) =>
    isStale ? ((isStale = false), { ...answer, status: "stale", grants: [] }) : answer
  )
  await want(1)
  expect(messages.map(({ seq, session }) => `${session} ${seq}`)).toEqual(["s1 1", "s2 1"])
})

it("what becomes of a message that is given up makes no difference", async () => {
  let fail = (_: Error): void => {}
  const { messages, passTo, want } = sessionWith({ maxAtOnce: 1 }, (answer) => {
    if (messages.length > 3) return answer
    return new Promise<never>((_, reject) => (fail = reject)) as never
  })
  await want(1)
  const first = fail
  await passTo(3_000_000)
  expect(messages.at(-1)!.session).toBe("s2")
  first(new Error("the connection is lost"))
  await passTo(8_000_000)
  expect(await want(1)).toBeLessThanOrEqual(0)
})

describe("limits of meters", () => {
  it("are those of the protocol and back, with windows by their names", () => {
    const limits = {
      maxAtOnce: 3,
      maxPerSecond: 5,
      maxBurst: 2,
      windows: { b: { limit: 7, per: 100.5 }, c: { limit: Infinity, per: 100 }, a: { limit: 9, per: 1_000 } }
    }
    const protocol = protocolLimits(limits, 1_000_000)
    expect(protocol).toEqual({
      permits: 3,
      rate: 5,
      burst: 2,
      lease: 1_000_000,
      windows: [
        { name: "a", limit: 9, per: 1_000_000 },
        { name: "b", limit: 7, per: 100_500 }
      ]
    })
    const { c: _, ...windows } = limits.windows
    expect(meterLimits(protocol)).toEqual({ ...limits, windows })
    expect(meterLimits(protocolLimits(none, 1_000_000))).toEqual(none)
  })
})

describe("wake-ups over the connection of a client", () => {
  it("of a channel without listeners are ignored, and to stop twice is to stop once", async () => {
    let wake = (_: string): void => {}
    const calls: Array<string> = []
    const subscriber = {
      on: (event: string, listener: (channel: string) => void) => {
        if (event === "message") wake = listener
        if (event === "connect") listener("")
      },
      subscribe: async (channel: string) => calls.push(`subscribe ${channel}`),
      unsubscribe: async (channel: string) => {
        calls.push(`unsubscribe ${channel}`)
        throw new Error("the connection is lost")
      },
      disconnect: () => calls.push("disconnect")
    }
    const store = redisStore({ call: async () => undefined, duplicate: () => subscriber })
    const woken: Array<string> = []
    const stops = ["a", "b"].map((session) => store.onWake("m", session, () => woken.push(session)))
    wake("fibermeter:{m}:a")
    wake("fibermeter:{m}:b")
    stops[0]!()
    stops[0]!()
    wake("fibermeter:{m}:a")
    stops[1]!()
    stops[1]!()
    await Promise.resolve()
    expect(woken).toEqual(["a", "b"])
    expect(calls).toEqual([
      "subscribe fibermeter:{m}:a",
      "subscribe fibermeter:{m}:b",
      "unsubscribe fibermeter:{m}:a",
      "disconnect"
    ])
  })
})

it("events need no listener", async () => {
  const { session, want } = sessionWith({ maxAtOnce: 1 }, (answer) => ({ ...answer, status: "version", version: 9 }))
  await want(1)
  await session.close()
  expect(await want(1)).toBe(Infinity)
})
