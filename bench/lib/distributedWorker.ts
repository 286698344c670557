/**
 * One of the processes of the suite `distributed`: starts tasks under a limit that all processes share, and sends when each
 * of them started and ended, by the machine's monotonic clock, in milliseconds.
 */
import { createMeter } from "@fibermeter/promise"
import { redisStore } from "@fibermeter/redis"
import { RedisStore } from "@fibermeter/redis/effect"
import Bottleneck from "bottleneck"
import { Effect } from "effect"
import { Meter, runOnEach } from "fibermeter"
import { Redis } from "ioredis"
import { RateLimiterQueue, RateLimiterRedis } from "rate-limiter-flexible"
import { createClient } from "redis"
import { range } from "./range.ts"

/** What a process does; it is its argument, as JSON. */
export interface Work {
  readonly who: "promise" | "core" | "bottleneck" | "rate-limiter-flexible"
  readonly port: number
  readonly maxPerSecond?: number
  readonly maxAtOnce?: number
  /** How long a task takes, in milliseconds. */
  readonly takes: number
  /** Meters of this process, each with a session of its own. */
  readonly sessions?: number
  readonly lease?: number
  /** The process stands still for so long, so often, in milliseconds. */
  readonly stalls?: { readonly millis: number; readonly every: number }
  /** One call after the other, each when the last has ended, after a pause of so many milliseconds. */
  readonly pause?: number
}

/** Task by task: its start, and its end. */
export type Report = ReadonlyArray<number>

const work = JSON.parse(process.argv[2]!) as Work
const clock = (): number => Number(process.hrtime.bigint()) / 1e6
const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

let report: Array<number> = []
setInterval(() => {
  if (report.length > 0) process.send!(report)
  report = []
}, 50)

const task = async (): Promise<void> => {
  const start = clock()
  if (work.takes > 0) await sleep(work.takes)
  report.push(start, clock())
}

/** So many calls wait in each process at a time: enough to use what it gets. */
const waiting = Math.min(5_000, Math.max(500, (work.maxPerSecond ?? 0) / 8))

/** Keeps calls waiting, for ever. */
const keepBusy = async (call: () => Promise<unknown>): Promise<never> => {
  for (;;) {
    await call()
    // Others get the event loop, whatever the limiter does.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const busy = (call: () => Promise<unknown>): void => {
  for (let i = 0; i < waiting; i++) void keepBusy(call)
}

const limits = {
  ...(work.maxPerSecond === undefined ? {} : { maxPerSecond: work.maxPerSecond }),
  ...(work.maxAtOnce === undefined ? {} : { maxAtOnce: work.maxAtOnce })
}
const storeOptions = work.lease === undefined ? {} : { lease: work.lease }

const ways: Record<Work["who"], () => Promise<void>> = {
  promise: async () => {
    const client = createClient({ socket: { host: "127.0.0.1", port: work.port } })
    await client.connect()
    const store = redisStore(client, storeOptions)
    const meters = Array.from({ length: work.sessions ?? 1 }, () => createMeter({ store, name: "bench", ...limits }))
    if (work.pause !== undefined) {
      for (;;) {
        await sleep(work.pause * (0.5 + Math.random()))
        const asked = clock()
        await meters[0]!.run(() => void report.push(asked, clock()))
      }
    }
    for (const meter of meters) {
      const calls = Math.ceil(waiting / meters.length)
      for (let i = 0; i < calls; i++) void keepBusy(() => meter.run(task))
    }
  },
  core: async () => {
    const client = createClient({ socket: { host: "127.0.0.1", port: work.port } })
    await client.connect()
    const program = Effect.flatMap(Meter.distributed("bench", limits), (meter) =>
      runOnEach(range(Infinity), () => Effect.promise(task), { meter })
    )
    Effect.runFork(program.pipe(Effect.scoped, Effect.provide(RedisStore.layerClient(client, storeOptions))))
  },
  bottleneck: async () => {
    const limiter = new Bottleneck({
      id: "bench",
      datastore: "ioredis",
      clearDatastore: false,
      Redis,
      clientOptions: { host: "127.0.0.1", port: work.port },
      ...(work.maxPerSecond === undefined ? {} : { minTime: 1000 / work.maxPerSecond }),
      maxConcurrent: work.maxAtOnce ?? null
    })
    await limiter.ready()
    busy(() => limiter.schedule(task))
  },
  // It has no limit on how many run at once.
  "rate-limiter-flexible": async () => {
    const limiter = new RateLimiterRedis({
      storeClient: new Redis({ host: "127.0.0.1", port: work.port }),
      points: work.maxPerSecond!,
      duration: 1
    })
    const queue = new RateLimiterQueue(limiter)
    busy(async () => {
      await queue.removeTokens(1)
      await task()
    })
  }
}

const { stalls } = work
if (stalls !== undefined) {
  setInterval(() => {
    const until = clock() + stalls.millis
    while (clock() < until);
  }, stalls.every)
}
process.on("disconnect", () => process.exit())
await ways[work.who]()
process.send!("ready")
