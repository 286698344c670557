/** The script for Redis gives the same answers as the function, to random messages. */
import { createHash } from "node:crypto"
import { expect, it } from "vitest"
import { advance } from "../src/protocol/advance.ts"
import type { Limits } from "../src/protocol/limits.ts"
import { type Answer, decodeAnswer, encodeMessage, type Message } from "../src/protocol/message.ts"
import type { State } from "../src/protocol/state.ts"
import { entriesAtMost } from "../src/protocol/slidingLog.ts"
import { script } from "../src/store/script.ts"
import { Chatter } from "./support/chatter.ts"
import { demand, none, Table } from "./support/messages.ts"
import { random } from "./support/random.ts"
import type { Connection } from "./support/resp.ts"
import { describeWithServer, persistences } from "./support/server.ts"

/** For both servers together: 100,000 in CI, and as many as take a few seconds on a desk. */
const messages = Number(process.env["FIBERMETER_MESSAGES"] ?? (process.env["CI"] === undefined ? 20_000 : 100_000))

const replaced = (text: string, part: string, by: string): string => {
  expect(text.split(part)).toHaveLength(2)
  return text.replace(part, () => by)
}

/** The script with its only two ties to the outside replaced: the time is an argument, and wake-ups are returned. */
const testable = (): string => {
  const timed = replaced(
    script,
    "  local time = redis.call('TIME')\n  return tonumber(time[1]) * 1000000 + tonumber(time[2])\n",
    "  return tonumber(ARGV[2])\n"
  )
  const woken = replaced(
    timed,
    "  redis.call('PUBLISH', key .. ':' .. session, '')\n",
    "  WAKES[#WAKES + 1] = session\n"
  )
  const collected = replaced(woken, "local function wake(session)", "local WAKES = {}\nlocal function wake(session)")
  return replaced(collected, "do wake(name) end\nreturn answer\n", "do wake(name) end\nreturn { answer, WAKES }\n")
}

const limits: Record<string, { readonly limits: Limits; readonly sessions: number; readonly calm?: boolean }> = {
  "a rate": { limits: { permits: 0, rate: 1_000, burst: 1, lease: 1_000_000, windows: [] }, sessions: 5 },
  "a fractional rate with bursts": {
    limits: { permits: 0, rate: 70.3, burst: 9, lease: 500_000, windows: [] },
    sessions: 3
  },
  permits: { limits: { permits: 7, rate: 0, burst: 1, lease: 400_000, windows: [] }, sessions: 6 },
  "short and long windows with costs": {
    limits: {
      permits: 0,
      rate: 0,
      burst: 1,
      lease: 1_000_000,
      windows: [
        { name: "short", limit: 20, per: 30_000 },
        { name: "long", limit: 90_000.5, per: 400_000_000 }
      ]
    },
    sessions: 4
  },
  "a log that is full": {
    limits: {
      permits: 0,
      rate: 0,
      burst: 1,
      lease: 3_000_000,
      windows: [
        { name: "hour", limit: 9_000_000, per: 3_600_000_000 },
        { name: "second", limit: 5_000_000, per: 1_000_000 }
      ]
    },
    sessions: 6,
    calm: true
  },
  "all kinds": {
    limits: {
      permits: 20,
      rate: 3_000,
      burst: 50,
      lease: 2_000_000,
      windows: [{ name: "tokens", limit: 900.25, per: 250_000 }]
    },
    sessions: 40
  }
}

/** Checks the answers to that many messages, and counts what they tested. */
const compare = async (connection: Connection, seed: number, setting: string, count: number) => {
  const text = testable()
  const sha = createHash("sha1").update(text).digest("hex")
  await connection.send(["SCRIPT", "LOAD", text])
  const { limits: numbers, sessions, calm } = limits[setting]!
  const chatter = new Chatter(random(seed), numbers, sessions, calm)
  const key = `{${setting} ${seed}}`
  const saved = `${key}:saved`
  let state: State | undefined
  let copy: State | undefined
  let slots = 0
  let adopted = 0
  let merged = 0
  for (let done = 0; done < count;) {
    const checks: Array<Promise<void>> = []
    for (let index = 0; index < 200 && done < count; index++) {
      const event = chatter.next()
      if (event.type === "message") {
        done++
        const { message, time } = event
        const expected = advance(state, message, time)
        state = expected.state
        chatter.hear(expected.answer)
        for (const { count } of expected.answer.grants) slots += count
        if (expected.answer.adopted) adopted++
        if (state?.logs.some(({ head, tail }) => tail - head >= entriesAtMost) === true) merged++
        const reply = connection.send(["EVALSHA", sha, "1", key, encodeMessage(message), String(time)])
        const wanted = JSON.stringify(expected.answer)
        const wakes = JSON.stringify(expected.wakes)
        checks.push(
          reply.then((reply) => {
            const [answer, woken] = (typeof reply === "string" ? [reply, []] : reply) as [string, Array<string>]
            const where = `${setting}, seed ${seed}: message ${encodeMessage(message)} at ${time}`
            expect(JSON.stringify(decodeAnswer(answer)), where).toBe(wanted)
            expect(JSON.stringify(woken), where).toBe(wakes)
          })
        )
      } else if (event.type === "lose") {
        state = undefined
        checks.push(connection.send(["DEL", key]).then(() => {}))
      } else if (event.type === "save") {
        copy = structuredClone(state)
        checks.push(
          connection.send(state === undefined ? ["DEL", saved] : ["COPY", key, saved, "REPLACE"]).then(() => {})
        )
      } else {
        state = structuredClone(copy)
        checks.push(connection.send(copy === undefined ? ["DEL", key] : ["COPY", saved, key, "REPLACE"]).then(() => {}))
      }
    }
    await Promise.all(checks)
  }
  return { slots, adopted, merged }
}

/** A table that notes what is said at it. */
class Minutes extends Table {
  readonly noted: Array<{ readonly message: Message; readonly answer: Answer }> = []

  override send(message: Message): Answer {
    const answer = super.send(message)
    this.noted.push({ message, answer })
    return answer
  }
}

for (const persistence of persistences) {
  describeWithServer("the script answers as the function does", persistence, (server) => {
    it.each(Object.keys(limits))("to random messages with %s", { timeout: 600_000 }, async (setting) => {
      const connection = await server().connect()
      try {
        const share = Math.ceil(messages / persistences.length / (Object.keys(limits).length + 1))
        const { calm } = limits[setting]!
        const seen = await compare(
          connection,
          persistence === "none" ? 1 : 2,
          setting,
          calm === true ? 2 * share : share
        )
        expect(seen.slots).toBeGreaterThan(share / 20)
        // Each setting has reached what it is there for.
        if (calm === true) expect(seen.merged).toBeGreaterThan(share / 20)
        else expect(seen.adopted).toBeGreaterThan(0)
      } finally {
        connection.close()
      }
    })

    it("to messages about fractions, which random ones hardly ever have add up to a limit", async () => {
      const connection = await server().connect()
      try {
        const cost = (batch: number, count: number, cost: number) => demand(batch, count, { costs: [cost] })
        for (const [first, second, plus, third, fourth] of [
          [0.1, 4, 0, 6.4, 3.6],
          [1.1, 2, 5.1, 5, 5]
        ] as const) {
          const table = new Minutes({ ...none, windows: [{ name: "w", limit: 10, per: 40_000 }] })
          const { grants } = table.say("a", { demand: [cost(1, 2, first), cost(2, 1, second)] })
          table.say("a", { corrections: [{ log: 0, entry: grants[1]!.entries[0]!, by: plus }] })
          expect(table.say("a", { demand: [cost(3, 1, third), cost(4, 1, fourth)] }).grants).toHaveLength(2)
          for (const { answer, message } of table.noted) {
            const reply = await connection.send(["EVAL", testable(), "1", `{${first}}`, encodeMessage(message), "0"])
            expect(decodeAnswer(String(Array.isArray(reply) ? reply[0] : reply))).toEqual(answer)
          }
        }
      } finally {
        connection.close()
      }
    })
  })
}
