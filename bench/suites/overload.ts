/**
 * A service under twice its capacity: calls arrive evenly, twice as many as the limit admits, and each is a request to a
 * server. Without limits on waiting the queue grows as long as that lasts; with them, some calls are refused, and the
 * latency of the others stays bounded. The limiters run one after the other, each in a process of its own.
 */
import { createMeter, OverloadedError } from "@fibermeter/promise"
import Bottleneck from "bottleneck"
import PQueue from "p-queue"
import { withServer } from "../lib/arrivals.ts"
import * as format from "../lib/format.ts"
import { quantile } from "../lib/stats.ts"
import type { Line, Scale, Suite } from "../lib/suite.ts"

interface Result {
  readonly who: string
  readonly offered: number
  readonly accepted: number
  readonly refused: number
  /** From the arrival of a call to its response, in milliseconds, of the accepted calls that arrived in the last third. */
  readonly latency: { readonly median: number; readonly p99: number; readonly max: number }
  readonly mostWaiting: number
  /** Refusals that said when to try again. */
  readonly withRetryAfter: number
  /** For a third call, alone, made at the time that its refusal has said: how often it was accepted. */
  readonly probes: number
  readonly probesAccepted: number
}

const perSecond = 200
const arrivalsPerSecond = 2 * perSecond
const maxWaiting = 50
/** Milliseconds. */
const waitTimeout = 200

const seconds = { full: 30, quick: 6, smoke: 0.3 } as const

const probes = { full: 50, quick: 10, smoke: 1 } as const

type Request = () => Promise<unknown>

interface Limiter {
  readonly call: (request: Request) => Promise<unknown>
  readonly waiting: () => number
  /** Milliseconds after which a refused call may come again; `undefined` if it was not refused or does not say. */
  readonly retryAfter?: (error: unknown) => number | undefined
}

const ours = (limits: { readonly maxWaiting?: number; readonly waitTimeout?: number }): Limiter => {
  const meter = createMeter({ maxPerSecond: perSecond, ...limits })
  return {
    call: (request) => meter.run(request),
    waiting: () => meter.snapshot().waiting,
    retryAfter: (error) => (error instanceof OverloadedError ? error.retryAfter : undefined)
  }
}

const limiters: Readonly<Record<string, () => Limiter>> = {
  "@fibermeter/promise": () => ours({}),
  "@fibermeter/promise, maxWaiting": () => ours({ maxWaiting }),
  "@fibermeter/promise, waitTimeout": () => ours({ waitTimeout }),
  "p-queue": () => {
    const queue = new PQueue({ interval: 1000 / perSecond, intervalCap: 1 })
    return { call: (request) => queue.add(request), waiting: () => queue.size }
  },
  bottleneck: () => {
    const limiter = new Bottleneck({ minTime: 1000 / perSecond, maxConcurrent: 10 })
    return { call: (request) => limiter.schedule(request), waiting: () => limiter.counts().QUEUED ?? 0 }
  },
  "bottleneck, highWater": () => {
    const limiter = new Bottleneck({
      minTime: 1000 / perSecond,
      // What waits for `minTime` alone is not queued, so that `highWater` would not concern it.
      maxConcurrent: 10,
      highWater: maxWaiting,
      strategy: Bottleneck.strategy.OVERFLOW
    })
    return { call: (request) => limiter.schedule(request), waiting: () => limiter.counts().QUEUED ?? 0 }
  }
}

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

const measure = (scale: Scale, who: string): Promise<Result> =>
  withServer(async ({ url }) => {
    const limiter = limiters[who]!()
    const offered = Math.round(arrivalsPerSecond * seconds[scale])
    const latencies: Array<number> = []
    let [accepted, refused, withRetryAfter, mostWaiting] = [0, 0, 0, 0]
    const call = async (n: number): Promise<void> => {
      const arrived = performance.now()
      try {
        await limiter.call(async () => (await fetch(url + n)).json())
        accepted++
        if (n >= (2 / 3) * offered) latencies.push(performance.now() - arrived)
      } catch (error) {
        refused++
        if (limiter.retryAfter?.(error) !== undefined) withRetryAfter++
      }
    }
    const calls: Array<Promise<void>> = []
    const began = performance.now()
    while (calls.length < offered) {
      // Those that were due meanwhile, if timers are late.
      while (calls.length < offered && performance.now() - began >= (calls.length * 1000) / arrivalsPerSecond) {
        calls.push(call(calls.length))
        mostWaiting = Math.max(mostWaiting, limiter.waiting())
      }
      await sleep(1)
    }
    await Promise.all(calls)
    const probed = limiter.retryAfter === undefined || refused === 0 ? undefined : await probe(limiter, scale)
    return {
      who,
      offered,
      accepted,
      refused,
      latency: { median: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), max: Math.max(...latencies) },
      mostWaiting,
      withRetryAfter,
      probes: probed?.made ?? 0,
      probesAccepted: probed?.accepted ?? 0
    }
  })

/** Fills the queue, and calls again after the time that a refusal has said, with no other call in between. */
const probe = async (limiter: Limiter, scale: Scale): Promise<{ readonly made: number; readonly accepted: number }> => {
  const made = probes[scale]
  let accepted = 0
  for (let i = 0; i < made; i++) {
    let millis: number | undefined
    const burst = Array.from({ length: 2 * maxWaiting }, () =>
      limiter.call(async () => {}).catch((error: unknown) => (millis ??= limiter.retryAfter!(error)))
    )
    await sleep(0)
    if (millis === undefined) throw new Error("no refusal that says when to call again")
    await sleep(millis)
    await limiter
      .call(async () => {})
      .then(
        () => accepted++,
        () => {}
      )
    await Promise.all(burst)
  }
  return { made, accepted }
}

export const overload: Suite<Result> = {
  name: "overload",
  lines: (scale) =>
    Object.keys(limiters).map((who): Line<Result> => ({ label: who, measure: () => measure(scale, who) })),
  report: (results) => ({
    title: "A service under twice its capacity",
    notes: [
      `${arrivalsPerSecond} calls arrive each second for ${seconds.full} s, and the limit is ${perSecond} starts per second. Each call is a request by \`fetch\` to a \`node:http\` server in its own process on the same machine. The latency is from the arrival of a call to its response, for accepted calls that arrived in the last third of the time. With \`maxWaiting\` and \`highWater\`, at most ${maxWaiting} calls wait; with \`waitTimeout\`, a call waits at most ${waitTimeout} ms.`,
      "A refusal by a meter with a rate says when the same call would be accepted. That is tested afterwards: the queue is filled, and one call is made again after the time that its refusal said. It can come too early if the process has stalled for more than the 10 ms that a rate catches up."
    ],
    tables: [
      {
        columns: [
          "who",
          "accepted",
          "refused",
          "latency, median",
          "99 %",
          "max",
          "most waiting",
          "refusals that say when",
          "accepted then"
        ],
        rows: results.map((result) => [
          result.who,
          format.count(result.accepted),
          format.count(result.refused),
          format.millis(result.latency.median),
          format.millis(result.latency.p99),
          format.millis(result.latency.max),
          format.count(result.mostWaiting),
          result.refused === 0 ? "–" : format.percent(result.withRetryAfter / result.refused),
          result.probes === 0 ? "–" : `${result.probesAccepted} of ${result.probes}`
        ])
      }
    ],
    charts: [],
    broken: results
      .filter(({ who }) => who.startsWith("@fibermeter"))
      .flatMap(({ mostWaiting, refused, who, withRetryAfter }) => [
        ...(who.includes("maxWaiting") && mostWaiting > maxWaiting ? [`${who}: ${mostWaiting} have waited`] : []),
        ...(withRetryAfter < refused
          ? [`${who}: ${refused - withRetryAfter} refusals do not say when to call again`]
          : [])
      ])
  })
}
