/**
 * Work as programs do it: requests by `fetch` to a server in a process of its own, so many at once or so many a second,
 * and rows that are written to SQLite. The limiters take turns in one process, and each sends the same requests.
 */
import { DatabaseSync } from "node:sqlite"
import { createMeter, runOnEach } from "@fibermeter/promise"
import { PromisePool } from "@supercharge/promise-pool"
import Bottleneck from "bottleneck"
import pLimit from "p-limit"
import pMap from "p-map"
import PQueue from "p-queue"
import pThrottle from "p-throttle"
import { withServer } from "../lib/arrivals.ts"
import * as format from "../lib/format.ts"
import { tidy } from "../lib/heap.ts"
import { mostInWindow, spreadOf } from "../lib/stats.ts"
import type { Spread } from "../lib/stats.ts"
import type { Bar, Scale, Suite } from "../lib/suite.ts"

interface Work {
  readonly work: string
  readonly requests: number
  /** The most that may arrive in a second, where that is limited. */
  readonly maxPerSecond: number | null
  readonly results: ReadonlyArray<Result>
}

interface Result {
  readonly who: string
  readonly isPeer: boolean
  /** Milliseconds. */
  readonly wall: Spread
  /** Microseconds of the client's processor time, a request. */
  readonly cpu: Spread
  /** The most starts, and the most arrivals, in any second of any round. */
  readonly mostStarts: number
  readonly mostArrivals: number
  /** The most requests that were on their way at once. */
  readonly peak: number
}

/** Sends a request for each of the items. */
type Send = (items: ReadonlyArray<number>, request: (n: number) => Promise<unknown>) => Promise<unknown>

const atOnce = 50
const perSecond = 200

const ours = "@fibermeter/promise"

/** What takes the least: so many loops over the same items. */
const byHand: Send = (items, request) => {
  const rest = items.values()
  const loop = async (): Promise<void> => {
    for (const n of rest) await request(n)
  }
  return Promise.all(Array.from({ length: atOnce }, loop))
}

const soManyAtOnce: Readonly<Record<string, Send>> = {
  "a loop by hand": byHand,
  [`${ours}, runOnEach`]: (items, request) => runOnEach(items, request, { maxAtOnce: atOnce }),
  [`${ours}, meter.run`]: (items, request) => {
    const meter = createMeter({ maxAtOnce: atOnce })
    return Promise.all(items.map((n) => meter.run(() => request(n))))
  },
  "p-map": (items, request) => pMap(items, request, { concurrency: atOnce }),
  "p-limit": (items, request) => {
    const limit = pLimit(atOnce)
    return Promise.all(items.map((n) => limit(() => request(n))))
  },
  "p-queue": (items, request) => {
    const queue = new PQueue({ concurrency: atOnce })
    return Promise.all(items.map((n) => queue.add(() => request(n))))
  },
  "promise-pool": (items, request) =>
    PromisePool.withConcurrency(atOnce)
      .for([...items])
      .dontStoreProcessedItems()
      .process(request),
  bottleneck: (items, request) => {
    const limiter = new Bottleneck({ maxConcurrent: atOnce })
    return Promise.all(items.map((n) => limiter.schedule(() => request(n))))
  }
}

const soManyASecond: Readonly<Record<string, Send>> = {
  [`${ours}, runOnEach`]: (items, request) => runOnEach(items, request, { maxPerSecond: perSecond }),
  [`${ours}, meter.run`]: (items, request) => {
    const meter = createMeter({ maxPerSecond: perSecond })
    return Promise.all(items.map((n) => meter.run(() => request(n))))
  },
  "p-throttle, strict": (items, request) => {
    const throttled = pThrottle({ limit: perSecond, interval: 1000, strict: true })(request)
    return Promise.all(items.map((n) => throttled(n)))
  },
  "p-throttle": (items, request) => {
    const throttled = pThrottle({ limit: perSecond, interval: 1000 })(request)
    return Promise.all(items.map((n) => throttled(n)))
  },
  "p-queue": (items, request) => {
    const queue = new PQueue({ intervalCap: perSecond, interval: 1000 })
    return Promise.all(items.map((n) => queue.add(() => request(n))))
  },
  "bottleneck, minTime": (items, request) => {
    const limiter = new Bottleneck({ minTime: 1000 / perSecond })
    return Promise.all(items.map((n) => limiter.schedule(() => request(n))))
  }
}

const rounds = { full: 3, quick: 2, smoke: 1 } as const
const manyRequests = { full: 20_000, quick: 4000, smoke: 100 } as const
const fewRequests = { full: 1000, quick: 400, smoke: 20 } as const

const get = async (url: string, n: number): Promise<unknown> => {
  const response = await fetch(url + n)
  return response.json()
}

interface Round {
  readonly wall: number
  readonly cpu: number
  readonly mostStarts: number
  readonly mostArrivals: number
  readonly peak: number
}

/** What is done for an item, and what is to be closed afterwards. */
interface Job {
  readonly request: (n: number) => Promise<unknown>
  readonly close?: () => void
}

interface Setting {
  readonly work: string
  readonly senders: Readonly<Record<string, Send>>
  readonly requests: number
  readonly maxPerSecond?: number
  readonly open: (url: string) => Job
}

const asking = (url: string): Job => ({ request: (n) => get(url, n) })

/** Each record is requested, and written to a database in memory. */
const filling = (url: string): Job => {
  const database = new DatabaseSync(":memory:")
  database.exec("create table records (id integer primary key, name text not null)")
  const insert = database.prepare("insert into records values (?, ?)")
  return {
    request: async (n) => {
      const { id, name } = (await get(url, n)) as { readonly id: number; readonly name: string }
      insert.run(id, name)
    },
    close: () => database.close()
  }
}

const settings = (scale: Scale): ReadonlyArray<Setting> => {
  const many = manyRequests[scale]
  return [
    { work: `requests, ${atOnce} at once`, senders: soManyAtOnce, requests: many, open: asking },
    {
      work: `requests and rows of SQLite, ${atOnce} at once`,
      senders: soManyAtOnce,
      requests: many / 2,
      open: filling
    },
    {
      work: `requests, ${perSecond} per second`,
      senders: soManyASecond,
      requests: fewRequests[scale],
      maxPerSecond: perSecond,
      open: asking
    }
  ]
}

const measure = (scale: Scale, { maxPerSecond, open, requests, senders, work }: Setting): Promise<Work> =>
  withServer(async ({ arrivals, url }) => {
    const items = Array.from({ length: requests }, (_, n) => n)
    const names = Object.keys(senders)
    const all = new Map<string, Array<Round>>(names.map((who) => [who, []]))
    const one = async (who: string): Promise<Round> => {
      const { close, request } = open(url)
      const starts: Array<number> = []
      let running = 0
      let peak = 0
      const counted = async (n: number): Promise<void> => {
        starts.push(performance.now())
        peak = Math.max(peak, ++running)
        await request(n)
        running--
      }
      await arrivals()
      tidy()
      const cpuBegan = process.cpuUsage()
      const began = performance.now()
      await senders[who]!(items, counted)
      const wall = performance.now() - began
      const { system, user } = process.cpuUsage(cpuBegan)
      close?.()
      const { count, mostInSecond } = await arrivals()
      if (count !== requests) throw new Error(`${who} has sent ${count} of ${requests} requests`)
      return {
        wall,
        cpu: (system + user) / requests,
        mostStarts: mostInWindow(starts, 1000),
        mostArrivals: mostInSecond,
        peak
      }
    }
    // The connections are there before it counts, and the client's code is compiled.
    await byHand(items.slice(0, 2000), (n) => get(url, n))
    for (let round = 0; round < rounds[scale]; round++) {
      for (const i of names.keys()) {
        const who = names[(i + round) % names.length]!
        all.get(who)!.push(await one(who))
      }
    }
    return {
      work,
      requests,
      maxPerSecond: maxPerSecond ?? null,
      results: names.map((who): Result => {
        const rounds = all.get(who)!
        return {
          who,
          isPeer: !who.startsWith(ours),
          wall: spreadOf(rounds.map(({ wall }) => wall)),
          cpu: spreadOf(rounds.map(({ cpu }) => cpu)),
          mostStarts: Math.max(...rounds.map(({ mostStarts }) => mostStarts)),
          mostArrivals: Math.max(...rounds.map(({ mostArrivals }) => mostArrivals)),
          peak: Math.max(...rounds.map(({ peak }) => peak))
        }
      })
    }
  })

/** What the choice of a limiter is worth, in words. */
const worth = ({ maxPerSecond, requests, results, work }: Work): string => {
  const sorted = results.toSorted((a, b) => a.cpu.median - b.cpu.median)
  const [least, most] = [sorted[0]!, sorted.at(-1)!]
  const range = `A request takes from ${format.micros(least.cpu.median)} of CPU time (${least.who}) to ${format.micros(most.cpu.median)} (${most.who})`
  const what = `${format.count(requests)} ${work}`
  if (maxPerSecond === null) return `${what}: ${range}.`
  const over = results.filter((result) => isOver(result, maxPerSecond)).map(({ who }) => who)
  const refused = over.length === 0 ? "none" : over.join("; ")
  return `${what}: ${range}. Arrivals exceed the limit by more than ${tolerance * 100} % in a second, so that the server would refuse some: ${refused}.`
}

/** How far arrivals may be off, as a part of the limit: requests that leave evenly do not arrive so. */
const tolerance = 0.05

const isOver = ({ mostArrivals }: Result, maxPerSecond: number): boolean =>
  mostArrivals > maxPerSecond * (1 + tolerance)

export const http: Suite<Work> = {
  name: "http",
  lines: (scale) => settings(scale).map((setting) => ({ label: setting.work, measure: () => measure(scale, setting) })),
  report: (results) => ({
    title: "Real work: HTTP requests and SQLite rows",
    notes: [
      `Requests by \`fetch\` to a \`node:http\` server in its own process on the same machine, which responds immediately. All clients run in one process, in ${rounds.full} interleaved rounds: medians, with the minimum and maximum. The CPU time is that of the client, most of it spent in \`fetch\`. The server counts arrivals. Requests travel at different speeds, so one or two more may arrive in a second than were sent.`,
      ...results.map(worth)
    ],
    tables: results.map(({ maxPerSecond, requests, results, work }) => ({
      title: `${format.count(requests)} ${work}`,
      columns: [
        "who",
        "time",
        "CPU time per request",
        "max at once",
        ...(maxPerSecond === null ? [] : ["most starts in any second", "most arrivals in any second"])
      ],
      rows: results.map(({ cpu, mostArrivals, mostStarts, peak, wall, who }) => [
        who,
        format.spread(wall, format.seconds),
        format.spread(cpu, format.micros),
        String(peak),
        ...(maxPerSecond === null ? [] : [String(mostStarts), String(mostArrivals)])
      ])
    })),
    charts: results.flatMap(({ maxPerSecond, results, work }) => {
      if (maxPerSecond === null) return []
      const bars = results.map((result): Bar => ({
        label: result.who,
        value: result.mostArrivals / maxPerSecond,
        isGood: !isOver(result, maxPerSecond),
        isPeer: result.isPeer
      }))
      return [
        {
          title: `${work}: most arrivals in any second / limit`,
          end: 2,
          format: "percent" as const,
          bars
        }
      ]
    }),
    broken: results.flatMap(({ maxPerSecond, results, work }) =>
      results
        .filter(({ isPeer }) => !isPeer)
        .flatMap(({ mostStarts, peak, who }) => [
          ...(maxPerSecond !== null && mostStarts > maxPerSecond ? [`${work}, ${who}: ${mostStarts} in a second`] : []),
          ...(maxPerSecond === null && peak > atOnce ? [`${work}, ${who}: ${peak} at once`] : [])
        ])
    )
  })
}
