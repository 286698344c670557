/** The stores: the function in memory, and the script on a server. */
import { createMeter } from "@fibermeter/promise"
import { Redis } from "ioredis"
import { afterEach, describe, expect, it, vi } from "vitest"
import {
  advance,
  encodeLimits,
  keyOf,
  memoryStore,
  type Message,
  protocolVersion,
  redisStore,
  type State
} from "../src/index.ts"
import { demand, message, none } from "./support/messages.ts"
import type { Reply } from "./support/resp.ts"
import { describeWithServer, hasServer, persistences } from "./support/server.ts"

afterEach(() => {
  vi.useRealTimers()
})

const permits = { ...none, permits: 1 }
const wants = (session: string, rest: Partial<Message> = {}): Message =>
  message(permits, { session, demand: [demand(1, 1, { weight: 1 })], ...rest })

describe("the memory store", () => {
  it("follows fake timers, and keeps meters apart by their names", async () => {
    vi.useFakeTimers({ now: 5_000 })
    const store = memoryStore()
    const first = await store.exchange("one", wants("a"))
    expect(first).toMatchObject({ status: "ok", now: 5_000_000 })
    expect(first.grants).toHaveLength(1)
    vi.setSystemTime(5_007)
    expect((await store.exchange("one", wants("b"))).grants).toEqual([])
    expect(await store.exchange("two", wants("b"))).toMatchObject({ now: 5_007_000, grants: [{ weight: 1 }] })
  })

  it("keeps nothing of a refused first message", async () => {
    const store = memoryStore({ now: () => 0 })
    expect((await store.exchange("one", wants("a", { version: 9 }))).status).toBe("version")
    expect((await store.exchange("one", wants("a"))).tick).toBe(1)
  })

  it("wakes the session that was granted something, as often as it listens, until it stops", async () => {
    const store = memoryStore({ now: () => 0 })
    const calls: Array<string> = []
    const listener = (): void => void calls.push("b")
    const stops = [store.onWake("one", "b", listener), store.onWake("one", "b", listener)]
    store.onWake("two", "b", () => calls.push("other"))
    const { generation } = await store.exchange("one", wants("a"))
    await store.exchange("one", wants("b"))
    await store.exchange("one", message(permits, { session: "a", seq: 2, generation, ended: 1 }))
    expect(calls).toEqual(["b", "b"])
    for (const stop of [...stops, ...stops]) stop()
    await store.exchange("one", wants("c"))
    await store.exchange("one", message(permits, { session: "b", seq: 2, generation, ended: 1 }))
    await store.exchange("one", message(permits, { session: "c", seq: 2, generation, ended: 1, demand: [] }))
    expect(calls).toEqual(["b", "b"])
  })
})

it("any string is a name, and different names have different keys", () => {
  const names = ["", "github", "a b", "a}b", "a{b", "%0020", " ", "é", "\u{1f600}", "\ud83d", "a%b", "a\r\nb"]
  const keys = names.map(keyOf)
  expect(new Set(keys).size).toBe(names.length)
  for (const key of keys) expect(key).toMatch(/^fibermeter:\{[\w.:%-]*\}$/)
})

describe("the Redis store", () => {
  const store = (send: (command: ReadonlyArray<string>) => Promise<unknown>) =>
    redisStore({ send, subscribe: () => () => {} })
  const answer = "[0,1,5,4,1,0,0,0,0,1,0,[],[]]"

  it("loads the script once, and again if the server has forgotten it", async () => {
    const sent: Array<string> = []
    let forgotten = false
    const { exchange } = store(async ([command]) => {
      sent.push(command!)
      if (command === "SCRIPT") return "sha"
      if (!forgotten) return answer
      forgotten = false
      throw new Error("NOSCRIPT No matching script. Please use EVAL.")
    })
    await exchange("m", wants("a"))
    expect(await exchange("m", wants("a"))).toMatchObject({ status: "ok", now: 5, generation: 4 })
    forgotten = true
    await exchange("m", wants("a"))
    expect(sent).toEqual(["SCRIPT", "EVALSHA", "EVALSHA", "EVALSHA", "SCRIPT", "EVALSHA"])
  })

  it("encodes a message as the array of version 1 of the protocol, so that other releases understand it", async () => {
    const sent: Array<unknown> = []
    const { exchange } = store(async (command) => {
      sent.push(command)
      return command[0] === "SCRIPT" ? "sha" : answer
    })
    const rest: Partial<Message> = {
      seq: 2,
      generation: 3,
      tick: 4,
      resized: "[2,0,1,1000000,[]]",
      revision: 5,
      held: 6,
      ended: 7,
      visit: 8,
      pause: 9,
      reports: [{ grant: 10, late: 11, unused: 12 }],
      corrections: [{ log: 13, entry: 14, by: 15 }],
      withdrawn: [{ batch: 16, count: 17 }],
      demand: [{ batch: 18, count: 19, weight: 20, arrival: 21, costs: [22] }]
    }
    await exchange("m", message(permits, rest))
    await exchange(
      "m",
      message(permits, { ...rest, leave: true, resize: "[3,0,1,1000000,[]]", afresh: true, until: 23 })
    )
    const encoded = (leave: number, resize: string, afresh: number, until: number): string => {
      const numbers = [2, 3, 4, "[1,0,1,1000000,[]]", "[2,0,1,1000000,[]]", 5, 6, 7, 8, 9]
      const lists = [[[10, 11, 12]], [[13, 14, 15]], [[16, 17]], [[18, 19, 20, 21, [22]]]]
      return JSON.stringify([1, "a", ...numbers, leave, resize, ...lists, afresh, until])
    }
    expect(sent.slice(1)).toEqual([
      ["EVALSHA", "sha", "1", "fibermeter:{m}", encoded(0, "", 0, 0)],
      ["EVALSHA", "sha", "1", "fibermeter:{m}", encoded(1, "[3,0,1,1000000,[]]", 1, 23)]
    ])
  })

  it("several calls at once load a forgotten script once", async () => {
    let loads = 0
    let known = ""
    const { exchange } = store(async ([command, sha]) => {
      if (command === "SCRIPT") return (known = `sha${++loads}`)
      if (sha === known && loads > 1) return answer
      throw new Error("NOSCRIPT")
    })
    await Promise.all([exchange("m", wants("a")), exchange("m", wants("b")), exchange("m", wants("c"))])
    expect(loads).toBe(2)
  })

  it("rejects with any other error, and is usable afterwards", async () => {
    let failure: unknown = new Error("LOADING Redis is loading the dataset in memory")
    const { exchange } = store(async ([command]) => {
      if (failure !== undefined) throw failure
      return command === "SCRIPT" ? "sha" : answer
    })
    await expect(exchange("m", wants("a"))).rejects.toBe(failure)
    failure = "NOSCRIPT, but not an error"
    await expect(exchange("m", wants("a"))).rejects.toBe(failure)
    failure = undefined
    expect((await exchange("m", wants("a"))).status).toBe("ok")
  })
})

it.runIf(process.env["CI"] !== undefined)("in CI, no test with a server is left out", () => {
  expect(hasServer).toBe(true)
})

for (const persistence of persistences) {
  describeWithServer("meters on a server", persistence, (server) => {
    it("the script answers by the server's clock as the function does, and wakes by a message", async () => {
      const connection = await server().connect()
      const subscriber = await server().connect()
      const pushed: Array<string> = []
      const woken = new Promise<void>((resolve) => {
        subscriber.onPush = (push) => {
          pushed.push(String(push[1]))
          resolve()
        }
      })
      const subscribed: Array<Promise<Reply>> = []
      const name = 'quote " backslash \\ brace } é'
      const store = redisStore({
        send: connection.send,
        subscribe: (channel) => {
          subscribed.push(subscriber.send(["SUBSCRIBE", channel]))
          return () => {}
        }
      })
      try {
        store.onWake(name, "b", () => {})
        await Promise.all(subscribed)
        let state: State | undefined
        const say = async (message: Message): Promise<void> => {
          const answer = await store.exchange(name, message)
          const expected = advance(state, message, answer.now)
          state = expected.state
          expect(answer).toEqual(expected.answer)
          expect(Math.abs(answer.now - Date.now() * 1_000)).toBeLessThan(60_000_000)
        }
        await say(wants("a"))
        await say(wants("b"))
        await say(wants("b"))
        await say(wants("a", { seq: 2, generation: state!.generation, ended: 1, demand: [] }))
        await woken
        expect(pushed).toEqual([`${keyOf(name)}:b`])
        await connection.send(["SCRIPT", "FLUSH"])
        await say(wants("b", { seq: 2, generation: state!.generation, demand: [] }))
        // One key, which ends by itself: after the longest window, the slack and ten leases, renewed once a lease.
        expect(await connection.send(["KEYS", "fibermeter:*"])).toEqual([keyOf(name)])
        const left = Number(await connection.send(["PTTL", keyOf(name)]))
        expect(left).toBeGreaterThan(10_000)
        expect(left).toBeLessThanOrEqual(12_000)
      } finally {
        connection.close()
        subscriber.close()
      }
    })

    it("a state of another version is left as it is", async () => {
      const connection = await server().connect()
      try {
        const store = redisStore({ send: connection.send, subscribe: () => () => {} })
        const pack = "return redis.call('HSET', KEYS[1], 'm', cmsgpack.pack({ 7, 'whatever' }))"
        await connection.send(["EVAL", pack, "1", keyOf("newer")])
        expect(await store.exchange("newer", wants("a"))).toMatchObject({ status: "version", version: 7 })
        expect(await connection.send(["HLEN", keyOf("newer")])).toBe(1)
        expect(protocolVersion).not.toBe(7)
        expect(encodeLimits(permits)).toBe("[1,0,1,1000000,[]]")
      } finally {
        connection.close()
      }
    })
  })
}

describeWithServer("tasks under several meters on a server", "none", (server) => {
  // `meters.test.ts` has the same on virtual time, with answers that take random times.
  it.each([2, 3])(
    "start in the end, however different the permits and costs are that they need: %d meters",
    async (n) => {
      const client = new Redis(server().port, "127.0.0.1")
      const store = redisStore(client)
      const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
      const limits = { maxAtOnce: 2, windows: { tokens: { limit: 60, per: 500 } } }
      const inOneGroup = async (_: unknown, group: number): Promise<number> => {
        const [first, ...others] = Array.from({ length: n }, (_, i) =>
          createMeter({ store, name: `${n} ${group} ${i}`, ...limits })
        )
        const sizes = [
          { permits: 1, cost: { tokens: 2 } },
          { permits: 2, cost: { tokens: 1 } },
          { permits: 1, cost: { tokens: 3 } }
        ]
        const calls = sizes.map(async (size, i) => {
          await sleep(i * (group % 4))
          return first!.run(() => sleep(5), { meter: others, ...size })
        })
        const { length } = await Promise.all(calls)
        await Promise.all([first!, ...others].map((meter) => meter.close()))
        return length
      }
      expect(await Promise.all(Array.from({ length: 8 }, inOneGroup))).toEqual(Array.from({ length: 8 }, () => 3))
      await client.quit()
    }
  )
})
