/** Corners of a session that no meter reaches by itself, or only by a race. */
import { describe, expect, it } from "vitest"
import type { Answer, Message } from "../src/index.ts"
import { memoryStore, redisStore } from "../src/index.ts"
import type { Meter, MeterLimits, Wish } from "../src/session/ExternalLimit.ts"
import { meterLimits, protocolLimits } from "../src/session/meterLimits.ts"
import { readOptions } from "../src/session/options.ts"
import { Session } from "../src/session/Session.ts"

const none: MeterLimits = { maxAtOnce: Infinity, maxPerSecond: Infinity, maxBurst: 1, windows: {} }

/** A session on a store in memory, with a clock and timers by hand. */
const sessionWith = (
  limits: Partial<MeterLimits>,
  change: (answer: Answer) => Answer | Promise<Answer> = (answer) => answer
) => {
  let now = 0
  let wishes: ReadonlyArray<Wish> = []
  const timers = new Set<{ readonly at: number; readonly f: () => void }>()
  const messages: Array<Message> = []
  const answers: Array<Answer> = []
  const store = memoryStore()
  let sessions = 0
  const session = new Session(
    {
      exchange: async (name, message, time) => {
        messages.push(message)
        const answer = await change(await store.exchange(name, message, time))
        answers.push(answer)
        return answer
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
    wishes: () => wishes,
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
  const wantAll = async (all: ReadonlyArray<Wish>): Promise<number> => {
    wishes = all
    const first = all[0] ?? wish
    session.opensIn(first)
    await settle()
    return session.opensIn(first)
  }
  return {
    session,
    answers,
    messages,
    wish,
    settle,
    wantAll,
    want: (count: number): Promise<number> => wantAll(count === 0 ? [] : [{ ...wish, wanted: count }]),
    /** As a process that stands still: no timer is called before that time in microseconds. */
    standStillTo: (time: number): void => {
      now = time
    },
    /** Until that time in microseconds. */
    passTo: async (time: number): Promise<void> => {
      for (let calls = 0; ; calls++) {
        const next = [...timers].toSorted((one, other) => one.at - other.at)[0]
        if (next === undefined || next.at > time) break
        if (calls === 1_000) expect.fail("its timers do not end")
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
  await passTo(200_000)
  expect(messages.flatMap(({ reports }) => reports)).toEqual([])
  session.ended(1)
  await passTo(400_000)
  expect(messages.flatMap(({ reports }) => reports)).toEqual([{ grant: expect.any(Number), late: 250_000, unused: 0 }])
})

it("slots that a process missed are reported as unused, and their demand is declared again in its old place", async () => {
  const { answers, messages, passTo, session, standStillTo, want, wish } = sessionWith({ maxPerSecond: 100 })
  await want(3)
  session.started(session.take(wish))
  await want(2)
  standStillTo(500_000)
  session.opensIn(wish)
  await passTo(500_000)
  expect(messages).toHaveLength(2)
  // The first has started in time, by an uncertainty of a microsecond.
  expect(messages[1]!.reports).toEqual([{ grant: answers[0]!.grants[0]!.id, late: 1, unused: 2 }])
  expect(messages[1]!.demand).toMatchObject([{ count: 2, arrival: answers[0]!.arrivals[0]!.arrival }])
})

it("a waiter that comes before another one takes its place, also in a new session, so that the store has the order of the process", async () => {
  const { answers, messages, passTo, session, wantAll, wish } = sessionWith({ maxAtOnce: 2 }, (answer) => ({
    ...answer,
    status: messages.length === 2 ? "stale" : answer.status,
    grants: []
  }))
  await wantAll([wish])
  expect(answers[0]!.arrivals).toHaveLength(1)
  await wantAll([{ ...wish, permits: 2 }, wish])
  session.added()
  await passTo(10_000)
  expect(messages[2]).toMatchObject({
    session: "s2",
    demand: [
      { weight: 2, arrival: answers[0]!.arrivals[0]!.arrival },
      { weight: 1, arrival: 0 }
    ]
  })
})

it("a grant that no waiter wants any more is given back with the next message", async () => {
  const { answers, messages, passTo, session, want, wish } = sessionWith({ maxAtOnce: 3 })
  await want(3)
  await want(1)
  session.rest()
  await passTo(5_000)
  expect(messages[1]).toMatchObject({ held: 1, ended: 2, reports: [] })
  session.started(session.take(wish))
  expect(session.opensIn(wish)).toBe(Infinity)
  session.ended(1)
  await want(0)
  expect(messages[2]).toMatchObject({ held: 0, ended: 1, reports: [{ grant: answers[0]!.grants[0]!.id, unused: 2 }] })
})

it("an attempt that fails is repeated after 10 ms, then after twice as long, up to a second", async () => {
  const { messages, passTo, want } = sessionWith({ maxAtOnce: 1 }, () => {
    throw new Error("no connection")
  })
  await want(1)
  for (const [index, at] of [10, 30, 70, 150, 310, 630, 1_270, 2_270].entries()) {
    await passTo(at * 1_000 - 1)
    expect(messages).toHaveLength(index + 1)
    await passTo(at * 1_000)
    expect(messages).toHaveLength(index + 2)
  }
})

it.each([
  ["permits", { maxAtOnce: 3 }, { permits: 2 }],
  ["of a window", { windows: { tokens: { limit: 10, per: 1_000 } } }, { cost: { tokens: 5 } }]
])("a task does not start in a slot granted for less than it needs: %s", async (_, limits, needs) => {
  const { answers, session, wantAll, wish } = sessionWith(limits)
  const large = { ...wish, ...needs }
  await wantAll([wish, large])
  const [first, second] = answers[0]!.grants
  // The waiter before it has given up.
  await wantAll([large])
  expect(session.take(large).fencingToken).toBe(second!.id)
  expect(session.take(wish).fencingToken).toBe(first!.id)
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

it("a session whose first answer arrives after its lease begins anew, and starts nothing in the old grants", async () => {
  let hear = (): void => {}
  const { answers, messages, session, settle, standStillTo, want, wish } = sessionWith({ maxAtOnce: 1 }, (answer) =>
    messages.length > 1 ? answer : new Promise((resolve) => (hear = () => resolve(answer)))
  )
  await want(1)
  standStillTo(5_000_000)
  hear()
  await settle()
  expect(messages.map(({ demand, seq, session }) => [session, seq, demand.length])).toEqual([
    ["s1", 1, 1],
    ["s2", 1, 1]
  ])
  expect(session.opensIn(wish)).toBeLessThanOrEqual(0)
  expect(session.take(wish).fencingToken).toBe(answers[1]!.grants[0]!.id)
})

it("a session that sends a message after its lease begins anew, with what its tasks hold", async () => {
  const { messages, session, settle, standStillTo, want, wish } = sessionWith({ maxAtOnce: 1 })
  await want(1)
  session.started(session.take(wish))
  await want(0)
  standStillTo(5_000_000)
  session.pause(1e9)
  await settle()
  expect(messages.at(-1)).toMatchObject({ session: "s2", seq: 1, held: 1, ended: 0, pause: 1_000_000 })
})

it("what becomes of a message that is given up makes no difference", async () => {
  let fail = (_: Error): void => {}
  const { messages, passTo, want } = sessionWith({ maxAtOnce: 1 }, (answer) => {
    if (messages.length > 3) return answer
    return new Promise<never>((_, reject) => (fail = reject))
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
    let ready = (_: string): void => {}
    const calls: Array<string> = []
    const subscriber = {
      on: (event: string, listener: (channel: string) => void) => {
        if (event === "message") wake = listener
        if (event === "connect") listener("")
        if (event === "ready") ready = listener
      },
      subscribe: async (...channels: ReadonlyArray<string>) => {
        calls.push(`subscribe ${channels.join(" ")}`)
        // Whatever rejects is handled, or it would end the process.
        if (channels.length > 1) throw new Error("the connection is lost")
      },
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
    // The connection was lost, and is there again.
    ready("")
    await Promise.resolve()
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
      "subscribe fibermeter:{m}:a fibermeter:{m}:b",
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

it("if others were served before the first waiter, all are declared again in its order, whatever places are known", async () => {
  let isChanged = false
  // As if the store had moved the first waiter behind the other one, of which a session does not learn.
  const { answers, messages, passTo, wantAll } = sessionWith(
    { windows: { w: { limit: 10, per: 1_000 } } },
    (answer) => {
      if (isChanged) return answer
      isChanged = true
      return { ...answer, grants: answer.grants.map((grant) => ({ ...grant, batch: grant.batch + 1 })) }
    }
  )
  const [first, other] = [8, 5].map((cost) => ({ cost: { w: cost }, permits: 1, wanted: 1 }))
  expect(await wantAll([first!, other!])).toBe(Infinity)
  const [batch] = messages[0]!.demand
  await passTo(300_000)
  const again = messages.find(({ withdrawn }) => withdrawn.length > 0)!
  expect(again.withdrawn).toEqual([{ batch: batch!.batch, count: 1 }])
  expect(again.reports).toMatchObject([{ unused: 1 }])
  const [one, next] = answers[0]!.arrivals.map(({ arrival }) => arrival)
  expect(next).toBe(one! + 1)
  expect(again.demand).toMatchObject([
    { costs: [8], arrival: one },
    { costs: [5], arrival: next }
  ])
})
