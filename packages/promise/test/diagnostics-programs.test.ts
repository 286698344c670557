/**
 * What is published on every host that has channels. Of random programs it adds up: each task that waits leaves the queue
 * once, each start has one end, and the times are those between the messages.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import fc from "fast-check"
import { expect, it, vi } from "vitest"
import { createMeter, runAll } from "../src/index.ts"
import type { MeterChannels } from "../src/index.ts"
import { program, written } from "./random/program.ts"
import { execute } from "./random/world.ts"
import { expectNoUnhandledRejection, flush, sleep, useVirtualTime, value } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

type Channel = keyof MeterChannels
type Message = MeterChannels[Exclude<Channel, "fibermeter:pause" | "fibermeter:store">]

/** The messages of one task at one of its meters, in the order in which they came. */
type Story = ReadonlyArray<readonly [channel: Channel, message: Message]>

const channels: ReadonlyArray<Channel> = [
  "fibermeter:enqueue",
  "fibermeter:start",
  "fibermeter:end",
  "fibermeter:refuse"
]

/** The messages of a program, by task, for each of its meters. */
const publishedBy = async (run: () => Promise<void>): Promise<ReadonlyArray<Story>> => {
  const byTask = new Map<number, Array<[Channel, Message]>>()
  const subscribers = channels.map((channel): [Channel, (message: unknown) => void] => [
    channel,
    (given) => {
      const message = given as Message
      const story = byTask.get(message.id) ?? []
      byTask.set(message.id, story)
      story.push([channel, message])
    }
  ])
  for (const [channel, f] of subscribers) subscribe(channel, f)
  try {
    await run()
    await flush()
  } finally {
    for (const [channel, f] of subscribers) unsubscribe(channel, f)
  }
  // A task under n meters is reported n times in a row.
  return Array.from(byTask.values()).flatMap((story) => {
    const meters = story.filter(([channel]) => channel === story[0]![0]).length
    expect(story.length % meters).toBe(0)
    const channels = story.map(([channel]) => channel)
    expect(channels).toEqual(channels.filter((_, i) => i % meters === 0).flatMap((each) => Array(meters).fill(each)))
    return Array.from({ length: meters }, (_, meter) => story.filter((_, i) => i % meters === meter))
  })
}

const check = (story: Story): string => {
  const channels = story.map(([channel]) => channel.replace("fibermeter:", ""))
  const [first, second] = story.map(([, message]) => message)
  const [end] = story.flatMap(([channel, message]) =>
    channel === "fibermeter:end" ? [message as MeterChannels["fibermeter:end"]] : []
  )
  const left = (channels[0] === "enqueue" ? second : first) as MeterChannels["fibermeter:start"] | undefined
  expect(left?.waitTime).toBe(channels[0] === "enqueue" ? left!.at - first!.at : undefined)
  if (end !== undefined) expect(end.runTime).toBe(end.at - left!.at)
  return channels.join(" ")
}

it("each task has a whole story", { timeout: 0 }, async () => {
  const seen = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(program, async (drawn) => {
      try {
        for (const story of await publishedBy(() => execute(drawn))) {
          const channels = check(story)
          seen.set(channels, (seen.get(channels) ?? 0) + 1)
        }
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${written(drawn)}`, { cause: error })
      }
    }),
    { numRuns: 200, seed: 20_261_128 }
  )
  expect(Array.from(seen.keys()).toSorted()).toEqual(["enqueue refuse", "enqueue start end", "refuse", "start end"])
})

it("subscribers that throw do not affect calls", async () => {
  // The host reports what they throw as uncaught, each in its own way: that is their affair.
  const others = process.listeners("uncaughtException")
  process.removeAllListeners("uncaughtException")
  process.on("uncaughtException", () => {})
  const throwing = vi.fn<() => void>(() => {
    throw new Error("from the subscriber")
  })
  for (const channel of channels) subscribe(channel, throwing)
  try {
    const api = createMeter({ name: "api", maxAtOnce: 1, maxWaiting: 1 })
    const calls = [api.run(() => sleep(1)), api.run(() => sleep(1)), api.run(() => 3)]
    const outcomes = await value(Promise.allSettled(calls))
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"])
    expect(await value(runAll([1, 2], (n) => sleep(1).then(() => n), { meter: api }))).toEqual([1, 2])
    expect(api.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 4 })
    // Four starts and ends, two waits, one refusal.
    expect(throwing).toHaveBeenCalledTimes(11)
    await flush()
  } finally {
    for (const channel of channels) unsubscribe(channel, throwing)
    process.removeAllListeners("uncaughtException")
    for (const listener of others) process.on("uncaughtException", listener)
  }
})
