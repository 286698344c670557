/**
 * One limit for eight processes, on a Redis server of its own. All starts and ends are counted by one clock, the machine's
 * monotonic one. A second passes before anything counts.
 */
import { fork } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { join } from "node:path"
import { openProxy } from "../../packages/redis/test/support/proxy.ts"
import { withChaos } from "../lib/chaosLine.ts"
import type { Report, Work } from "../lib/distributedWorker.ts"
import * as format from "../lib/format.ts"
import { hasRedis, withRedis } from "../lib/redisServer.ts"
import { mostInWindow, quantile } from "../lib/stats.ts"
import type { Line, Scale, Suite } from "../lib/suite.ts"

interface Case extends Omit<Work, "port"> {
  readonly label: string
  /** What is to be reached: of the rate, or of the permits. */
  readonly reach?: number
  /** Milliseconds to the server, and as many back. */
  readonly latency?: number
  /** Two of the processes are killed after half of the time. */
  readonly kills?: boolean
}

interface Result {
  readonly label: string
  readonly reach: number | undefined
  readonly starts: number
  /** Of the rate that was used, or of the permits if there is no rate. */
  readonly share: number
  /** The same, of the time from a lease after the kill on. */
  readonly shareAfter: number | undefined
  readonly rate: number | undefined
  readonly mostInSecond: number
  readonly permits: number | undefined
  readonly mostAtOnce: number
  readonly scripts: number
  readonly commands: number
  /** Microseconds of the server a start. */
  readonly cpu: number
  /** From the call to the start, in milliseconds. */
  readonly latency: { readonly p50: number; readonly p99: number } | undefined
}

const processes = 8
const seconds = { full: 8, quick: 3, smoke: 1 } as const
const warmUp = 1_500
const lease = 1_000

const rates = { 100: 0.99, 1_000: 0.99, 10_000: 0.99, 50_000: 0.985 }

const cases: ReadonlyArray<Case> = [
  ...Object.entries(rates).flatMap(([rate, reach]): ReadonlyArray<Case> =>
    (["core", "promise"] as const).map((who) => ({
      label: `${who}: ${format.count(Number(rate))} a second`,
      who,
      maxPerSecond: Number(rate),
      takes: 0,
      reach
    }))
  ),
  {
    label: "promise: 1,000 a second, 20 ms stalls every 200 ms",
    who: "promise",
    maxPerSecond: 1_000,
    takes: 0,
    stalls: { millis: 20, every: 200 },
    reach: 0.98
  },
  {
    label: "promise: 1,000 a second, 20 ms round trips",
    who: "promise",
    maxPerSecond: 1_000,
    takes: 0,
    latency: 10,
    reach: 0.96
  },
  ...([100, 20, 5] as const).map((takes): Case => ({
    label: `promise: 50 at once, tasks of ${takes} ms`,
    who: "promise",
    maxAtOnce: 50,
    takes,
    reach: { 100: 0.98, 20: 0.95, 5: 0.85 }[takes]
  })),
  {
    label: "promise: 1,000 a second and 50 at once, tasks of 20 ms, two of eight killed",
    who: "promise",
    maxPerSecond: 1_000,
    maxAtOnce: 50,
    takes: 20,
    lease,
    kills: true,
    reach: 0.98
  },
  {
    label: "promise: 1,000 a second, 100 sessions",
    who: "promise",
    maxPerSecond: 1_000,
    takes: 0,
    sessions: 13,
    reach: 0.98
  },
  { label: "promise: a start without waiting", who: "promise", maxAtOnce: 50, takes: 0, pause: 20 },
  {
    label: "bottleneck: 1,000 a second and 50 at once, tasks of 20 ms, two of eight killed",
    who: "bottleneck",
    maxPerSecond: 1_000,
    maxAtOnce: 50,
    takes: 20,
    kills: true
  },
  {
    label: "rate-limiter-flexible: 1,000 a second, tasks of 20 ms, two of eight killed",
    who: "rate-limiter-flexible",
    maxPerSecond: 1_000,
    takes: 20,
    kills: true
  }
]

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

const clock = (): number => Number(process.hrtime.bigint()) / 1e6

/** The most tasks that ran at a time. A task whose process was killed has ended by then. */
const mostAtOnce = (tasks: ReadonlyArray<readonly [start: number, end: number]>): number => {
  const events = tasks
    .flatMap(([start, end]) => [
      [start, 1],
      [end, -1]
    ])
    .toSorted(([a, x], [b, y]) => a! - b! || x! - y!)
  let [running, most] = [0, 0]
  for (const [, by] of events) most = Math.max(most, (running += by!))
  return most
}

const measure = (scale: Scale, given: Case): Promise<Result> =>
  withRedis(async (server) => {
    const { kills, label, latency, reach, ...work } = given
    const proxy =
      latency === undefined ? undefined : await openProxy(server.port, { there: () => latency, back: () => latency })
    const children: Array<ChildProcess> = []
    const tasks: Array<readonly [start: number, end: number]> = []
    try {
      const ready = Array.from({ length: processes }, () => {
        const argument = JSON.stringify({ ...work, port: proxy?.port ?? server.port } satisfies Work)
        const child = fork(join(import.meta.dirname, "../lib/distributedWorker.ts"), [argument])
        children.push(child)
        return new Promise<void>((resolve, reject) => {
          child.on("message", (message: Report | "ready") => {
            if (message === "ready") resolve()
            else for (let i = 0; i < message.length; i += 2) tasks.push([message[i]!, message[i + 1]!])
          })
          child.on("exit", (code) => reject(new Error(`${label}: a process ended with ${code}`)))
        })
      })
      // One that measures single calls is never ready.
      if (work.pause === undefined) await Promise.all(ready)
      else for (const each of ready) each.catch(() => {})
      await sleep(warmUp)
      const from = clock()
      const before = await server.usage()
      const length = seconds[scale] * 1_000
      let recovered: number | undefined
      if (kills === true) {
        await sleep(length / 2)
        for (const child of children.slice(0, 2)) child.kill("SIGKILL")
        recovered = clock() + (work.lease ?? 0) + 100
        await sleep(length / 2)
      } else {
        await sleep(length)
      }
      const after = await server.usage()
      const to = clock()
      // What is under way.
      await sleep(100 + work.takes)
      const starts = tasks
        .map(([start]) => start)
        .filter((start) => start >= from && start < to)
        .toSorted((a, b) => a - b)
      const { maxAtOnce, maxPerSecond, pause } = work
      const shareOf = (begin: number): number => {
        if (maxPerSecond !== undefined)
          return starts.filter((start) => start >= begin).length / ((maxPerSecond * (to - begin)) / 1000)
        const used = tasks.reduce(
          (sum, [start, end]) => sum + Math.max(0, Math.min(end, to) - Math.max(start, begin)),
          0
        )
        return used / (maxAtOnce! * (to - begin))
      }
      const waits = tasks.map(([asked, started]) => started - asked)
      return {
        label,
        reach,
        starts: starts.length,
        share: shareOf(from),
        shareAfter: recovered === undefined || recovered >= to ? undefined : shareOf(recovered),
        rate: maxPerSecond,
        mostInSecond: mostInWindow(starts, 1_000),
        permits: maxAtOnce,
        mostAtOnce: pause === undefined ? mostAtOnce(tasks) : 0,
        scripts: (after.scripts - before.scripts) / starts.length,
        commands: (after.commands - before.commands) / starts.length,
        cpu: ((after.cpu - before.cpu) * 1e6) / starts.length,
        latency: pause === undefined ? undefined : { p50: quantile(waits, 0.5), p99: quantile(waits, 0.99) }
      }
    } finally {
      for (const child of children) child.removeAllListeners("exit").kill("SIGKILL")
      proxy?.close()
    }
  })

const limits: Suite<Result> = {
  name: "distributed",
  lines: (scale) => {
    if (!hasRedis()) {
      console.error("distributed: left out, since there is no redis-server")
      return []
    }
    const chosen =
      scale === "smoke" ? cases.filter(({ maxPerSecond, who }) => who === "promise" && maxPerSecond === 100) : cases
    return chosen.map((each): Line<Result> => ({ label: each.label, measure: () => measure(scale, each) }))
  },
  report: (results) => ({
    title: "One limit for eight processes",
    notes: [
      `Each line has a Redis server and ${processes} processes of its own, on this machine. The share is that of the rate or, without a rate, of the time of all permits; in brackets from ${lease} ms after the kill on. Starts and tasks at once are counted over all processes by the machine's monotonic clock.`,
      "A message is a script that the server runs. The server's CPU time contains everything that it does."
    ],
    tables: [
      {
        columns: [
          "limit",
          "share",
          "target",
          "",
          "most starts in 1 s",
          "most at once",
          "messages a start",
          "commands a start",
          "Redis, a start"
        ],
        rows: results
          .filter(({ latency }) => latency === undefined)
          .map(
            ({
              commands,
              cpu,
              label,
              mostAtOnce: most,
              mostInSecond,
              permits,
              rate,
              reach,
              scripts,
              share,
              shareAfter
            }) => [
              label,
              format.percent(share) + (shareAfter === undefined ? "" : ` (${format.percent(shareAfter)})`),
              reach === undefined ? "–" : `≥ ${format.percent(reach)}`,
              reach === undefined ? "" : (shareAfter ?? share) >= reach ? "reached" : "missed",
              rate === undefined ? "–" : format.count(mostInSecond),
              permits === undefined ? "–" : format.count(most),
              format.ratio(scripts),
              format.ratio(commands),
              format.micros(cpu)
            ]
          )
      },
      {
        title: "A start without waiting: from the call to the task",
        columns: ["limit", "p50", "p99"],
        rows: results.flatMap(({ label, latency }) =>
          latency === undefined ? [] : [[label, format.millis(latency.p50), format.millis(latency.p99)]]
        )
      }
    ],
    charts: [],
    broken: results.flatMap(({ label, mostAtOnce: most, mostInSecond, permits = Infinity, rate = Infinity }) => {
      // Others are measured, not tested.
      if (!/^(core|promise)/.test(label)) return []
      return [
        ...(mostInSecond > rate ? [`distributed, ${label}: ${mostInSecond} starts in a second`] : []),
        ...(most > permits ? [`distributed, ${label}: ${most} at once`] : [])
      ]
    })
  })
}

export const distributed = withChaos(limits)
