/**
 * How well a rate is held, on the real clock: how much of it is reached, and whether any window ever sees more than its
 * limit. Every start is stamped inside the task.
 */
import {
  amap as amapPromise,
  createMeter,
  runAll as runAllPromise,
  runOnEach as runOnEachPromise
} from "@fibermeter/promise"
import Bottleneck from "bottleneck"
import { Effect, Stream } from "effect"
import { amap, Meter, runAll, runOnEach } from "fibermeter"
import PQueue from "p-queue"
import pThrottle from "p-throttle"
import * as format from "../lib/format.ts"
import { range } from "../lib/range.ts"
import { Starts } from "../lib/starts.ts"
import { spreadOf } from "../lib/stats.ts"
import type { Spread } from "../lib/stats.ts"
import type { Bar, Line, Scale, Suite } from "../lib/suite.ts"

interface Pacing {
  readonly who: string
  readonly isPeer: boolean
  readonly circumstances: string
  readonly rate: number
  /** The rate that was reached, as a share of the requested rate, in a round. */
  readonly share: Spread
  /** Whether that says something: not where something else than the rate holds the tasks back. */
  readonly isShareBound: boolean
  /** The most starts in any window of any round, as a ratio to the limit. */
  readonly window: number
  readonly in10ms: number
  readonly in100ms: number
  readonly peak: number
  readonly maxAtOnce: number
}

/** Starts that many tasks, each of which stamps. Resolves when all have ended. */
type Paced = (tasks: number, starts: Starts) => Promise<unknown>

interface Variant {
  readonly circumstances: string
  readonly paced: (rate: number) => Paced
  readonly burst?: (rate: number) => number
  /** Milliseconds between stalls of the event loop, 5 ms each. */
  readonly stallEvery?: number
  /** Two runs, with a time between in which nothing waits. */
  readonly idles?: boolean
  readonly maxAtOnce?: (rate: number) => number
  readonly isShareBound?: boolean
}

const toReach = 0.995

// --- ours ------------------------------------------------------------------------------------------------------------

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

const stamp = (starts: Starts) => Effect.sync(() => starts.stamp())

/** Lasts for a while, and does as little as can be: at high rates, it would be the tasks that take all the time. */
const stay = (starts: Starts, millis: number) =>
  Effect.callback<void>((resume) => {
    starts.stamp()
    starts.enter()
    setTimeout(() => {
      starts.leave()
      resume(Effect.void)
    }, millis)
  })

/** For tasks of 5 ms, several times as many as are needed for the rate. */
const enough = (rate: number): number => Math.ceil(rate / 40)

/** What may start together after an idle time: a tenth of a second's worth. */
const tenth = (rate: number): number => Math.max(2, Math.floor(rate / 10))

const core: ReadonlyArray<Variant> = [
  {
    circumstances: "plain",
    paced: (rate) => (tasks, starts) => run(runOnEach(range(tasks), () => stamp(starts), { maxPerSecond: rate }))
  },
  ...[20, 50, 250].map((stallEvery) => ({
    circumstances: `5 ms stalls every ${stallEvery} ms`,
    stallEvery,
    paced:
      (rate: number): Paced =>
      (tasks, starts) =>
        run(runOnEach(range(tasks), () => stamp(starts), { maxPerSecond: rate }))
  })),
  {
    circumstances: "maxAtOnce, enough",
    maxAtOnce: enough,
    paced: (rate) => (tasks, starts) =>
      run(runOnEach(range(tasks), () => stay(starts, 5), { maxPerSecond: rate, maxAtOnce: enough(rate) }))
  },
  {
    circumstances: "maxAtOnce, too few",
    maxAtOnce: () => 4,
    isShareBound: false,
    paced: (rate) => (tasks, starts) =>
      run(runOnEach(range(tasks), () => stay(starts, 1), { maxPerSecond: rate, maxAtOnce: 4 }))
  },
  {
    circumstances: "an idle time between",
    idles: true,
    paced: (rate) => {
      const meter = Meter.makeUnsafe({ maxPerSecond: rate })
      return (tasks, starts) => run(runOnEach(range(tasks), () => stamp(starts), { meter }))
    }
  },
  {
    circumstances: "maxBurst, an idle time between",
    idles: true,
    burst: tenth,
    paced: (rate) => {
      const meter = Meter.makeUnsafe({ maxPerSecond: rate, maxBurst: tenth(rate) })
      return (tasks, starts) => run(runOnEach(range(tasks), () => stamp(starts), { meter }))
    }
  },
  {
    circumstances: "4 calls share a meter",
    paced: (rate) => {
      const meter = Meter.makeUnsafe({ maxPerSecond: rate })
      return (tasks, starts) => {
        const [a, b, c, d] = quarters(tasks)
        const calls: ReadonlyArray<Effect.Effect<unknown>> = [
          runOnEach(range(a), () => stamp(starts), { meter }),
          runAll(range(b), () => stamp(starts), { meter }),
          Stream.runDrain(amap(range(c), () => stamp(starts), { meter })),
          Effect.forEach(range(d), () => Meter.metered(stamp(starts), meter))
        ]
        return run(Effect.all(calls, { concurrency: "unbounded" }))
      }
    }
  }
]

const facade: ReadonlyArray<Variant> = [
  {
    circumstances: "plain",
    paced: (rate) => (tasks, starts) => runOnEachPromise(range(tasks), () => starts.stamp(), { maxPerSecond: rate })
  },
  {
    circumstances: "5 ms stalls every 20 ms",
    stallEvery: 20,
    paced: (rate) => (tasks, starts) => runOnEachPromise(range(tasks), () => starts.stamp(), { maxPerSecond: rate })
  },
  {
    circumstances: "4 calls share a meter",
    paced: (rate) => {
      const meter = createMeter({ maxPerSecond: rate })
      return (tasks, starts) => {
        const task = () => starts.stamp()
        const [a, b, c, d] = quarters(tasks)
        return Promise.all([
          runOnEachPromise(range(a), task, { meter }),
          runAllPromise(range(b), task, { meter }),
          readAll(amapPromise(range(c), task, { meter })),
          inLanes(d, () => meter.run(task))
        ])
      }
    }
  }
]

const quarters = (n: number): [number, number, number, number] => {
  const quarter = Math.floor(n / 4)
  return [quarter, quarter, quarter, n - 3 * quarter]
}

/** So many calls altogether, a hundred at any time. */
const inLanes = (times: number, call: () => Promise<unknown>): Promise<unknown> => {
  let left = times
  const lane = async (): Promise<void> => {
    while (left-- > 0) await call()
  }
  return Promise.all(Array.from({ length: 100 }, lane))
}

const readAll = async (results: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of results);
}

// --- peers -----------------------------------------------------------------------------------------------------------

/** All calls at once, as these libraries are used. */
const queued = (tasks: number, call: () => Promise<unknown>): Promise<unknown> =>
  Promise.all(Array.from({ length: tasks }, call))

const peers: Readonly<Record<string, (rate: number) => Paced>> = {
  "bottleneck, minTime": (rate) => {
    const limiter = new Bottleneck({ minTime: 1000 / rate })
    return (tasks, starts) => queued(tasks, () => limiter.schedule(async () => starts.stamp()))
  },
  "p-throttle": (rate) => {
    const throttle = pThrottle({ limit: rate, interval: 1000 })
    return (tasks, starts) =>
      queued(
        tasks,
        throttle(async () => starts.stamp())
      )
  },
  "p-throttle, strict": (rate) => {
    const throttle = pThrottle({ limit: rate, interval: 1000, strict: true })
    return (tasks, starts) =>
      queued(
        tasks,
        throttle(async () => starts.stamp())
      )
  },
  "p-queue": (rate) => {
    const queue = new PQueue({ intervalCap: rate, interval: 1000 })
    return (tasks, starts) => queued(tasks, () => queue.add(async () => starts.stamp()))
  },
  "p-queue, strict": (rate) => {
    const queue = new PQueue({ intervalCap: rate, interval: 1000, strict: true })
    return (tasks, starts) => queued(tasks, () => queue.add(async () => starts.stamp()))
  }
}

// --- measuring -------------------------------------------------------------------------------------------------------

const second = 1000
const stall = 5

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

const busy = (millis: number): void => {
  const ends = performance.now() + millis
  while (performance.now() < ends);
}

/** Whole windows, as many as fit the time or more, and enough for three starts. */
const tasksFor = (rate: number, seconds: number, places: number): number =>
  1 + Math.max(2, places * Math.ceil((rate * seconds) / places))

const measure = async (who: string, isPeer: boolean, variant: Variant, rate: number, scale: Scale): Promise<Pacing> => {
  // So that the first of the starts that count find compiled code.
  const warm = isPeer ? 100 : Math.ceil(Math.max(100, rate / 4))
  await variant.paced(Math.max(rate, 1000))(warm, new Starts(warm))

  const burst = variant.burst?.(rate) ?? 1
  const places = Math.max(1, Math.floor(rate), burst)
  const tasks = tasksFor(rate, durations[scale], places)
  const stalls = variant.stallEvery === undefined ? undefined : setInterval(() => busy(stall), variant.stallEvery)
  const all: Array<Round> = []
  for (let i = 0; i < rounds[scale]; i++) all.push(await round(variant, rate, tasks, burst))
  clearInterval(stalls)

  const most = (figure: (starts: Starts) => number): number => Math.max(...all.map(({ starts }) => figure(starts)))
  return {
    who,
    isPeer,
    circumstances: variant.circumstances,
    rate,
    share: spreadOf(all.map(({ reached }) => reached / rate)),
    isShareBound: variant.isShareBound ?? true,
    window: most((starts) => starts.mostIn(places / rate)) / places,
    in10ms: most((starts) => starts.mostIn(0.01)),
    in100ms: most((starts) => starts.mostIn(0.1)),
    peak: most((starts) => starts.peak),
    maxAtOnce: variant.maxAtOnce?.(rate) ?? 0
  }
}

interface Round {
  readonly starts: Starts
  /** Starts a second. */
  readonly reached: number
}

const round = async (variant: Variant, rate: number, tasks: number, burst: number): Promise<Round> => {
  const phases = variant.idles === true ? 2 : 1
  // A limiter that falls behind is not waited for any longer than this.
  const longest = (2 * second * tasks) / rate + second
  const starts = new Starts(tasks * phases)
  const paced = variant.paced(rate)
  let reached = 0
  for (let phase = 0; phase < phases; phase++) {
    if (phase > 0) await sleep(Math.max(second / 2, (1.3 * second * burst) / rate))
    const from = starts.length
    // A limiter that was not waited for continues in the next phase, and in its windows.
    await Promise.race([paced(tasks, starts), sleep(longest)])
    reached += starts.rate(from, starts.length - 1) / phases
  }
  return { starts, reached }
}

const rates = {
  full: [0.2, 1, 2.5, 10, 30, 100, 1000, 5000, 20_000, 100_000],
  quick: [10, 1000, 100_000],
  smoke: [50, 2000]
} as const
const peerRates = { full: [10, 1000, 5000], quick: [1000], smoke: [50] } as const
const rounds = { full: 3, quick: 1, smoke: 1 } as const
const durations = { full: 2, quick: 1, smoke: 1 } as const

export const pacing: Suite<Pacing> = {
  name: "pacing",
  lines: (scale: Scale) => {
    const line = (who: string, isPeer: boolean, variant: Variant, rate: number): Line<Pacing> => ({
      label: `${who}, ${rate} per second, ${variant.circumstances}`,
      isLight: rate <= 10,
      measure: () => measure(who, isPeer, variant, rate, scale)
    })
    const ours = rates[scale].flatMap((rate) => [
      ...core.map((variant) => line("core", false, variant, rate)),
      ...facade.map((variant) => line("promise", false, variant, rate))
    ])
    const theirs = peerRates[scale].flatMap((rate) =>
      Object.entries(peers).flatMap(([who, paced]) => [
        line(who, true, { circumstances: "plain", paced }, rate),
        line(who, true, { circumstances: "an idle time between", idles: true, paced }, rate)
      ])
    )
    return [...ours, ...theirs]
  },
  report: (results) => ({
    title: "Pacing: rates held on the real clock",
    notes: [
      "`share`: the achieved rate as a share of the requested rate, the median and the minimum of three rounds. `window`: the most starts in any half-open window of R / rate seconds, as a ratio to its limit R (R is the rate rounded down, or the burst if that is greater). The guarantee is at most 1. Bunching: the most starts in any 10 and 100 ms, with the number for an even spread in brackets.",
      "A round lasts about 2 s, or three starts at slow rates, after a short warm-up. Stalls are busy loops. `maxAtOnce, enough`: tasks last 5 ms, and several times the necessary number may run; `too few`: 4, so that mostly this limit delays the tasks, and not the rate. An idle time between: two runs on one meter. `maxBurst`: the starts of a tenth of a second. Peers: all calls queued at once, configured for the rate as their documentation describes."
    ],
    tables: [
      { title: "Ours", columns, rows: results.filter(({ isPeer }) => !isPeer).map(row) },
      { title: "Peers", columns, rows: results.filter(({ isPeer }) => isPeer).map(row) }
    ],
    charts: [
      {
        title: "Pacing: achieved share of the rate",
        end: 1.2,
        format: "percent",
        bars: charted(results).map((result) => ({
          ...bar(result, result.share.median),
          isGood: result.share.median >= toReach
        }))
      },
      {
        title: "Pacing: most starts in any window / limit",
        end: 2.2,
        format: "ratio",
        bars: charted(results).map((result) => ({ ...bar(result, result.window), isGood: result.window <= 1 }))
      }
    ],
    broken: results.flatMap(broken)
  })
}

// --- reporting -------------------------------------------------------------------------------------------------------

const columns = [
  "who",
  "per second",
  "circumstances",
  "share (min)",
  "",
  "window",
  "",
  "in 10 ms (even)",
  "in 100 ms (even)"
]

const row = (result: Pacing): ReadonlyArray<string> => {
  const { circumstances, in100ms, in10ms, isPeer, isShareBound, rate, share, who, window } = result
  const isShort = isShareBound && share.median < toReach
  return [
    who,
    format.count(rate),
    circumstances,
    `${format.percent(share.median)} (${format.percent(share.min)})`,
    isShort && !isPeer ? "missed" : "",
    window.toFixed(window > 1 && window < 1.001 ? 5 : 3),
    window > 1 && !isPeer ? "BROKEN" : "",
    `${in10ms} (${Math.ceil(rate / 100)})`,
    `${in100ms} (${Math.ceil(rate / 10)})`
  ]
}

/** The circumstances that peers were measured in, at their rates. */
const charted = (results: ReadonlyArray<Pacing>): ReadonlyArray<Pacing> => {
  const compared = results.filter(({ isPeer }) => isPeer)
  return results
    .filter(({ circumstances, rate }) =>
      compared.some((peer) => peer.rate === rate && peer.circumstances === circumstances)
    )
    .toSorted((a, b) => a.rate - b.rate)
}

const bar = ({ circumstances, isPeer, rate, who }: Pacing, value: number): Omit<Bar, "isGood"> => ({
  label: `${format.count(rate)} per second, ${circumstances}: ${who}`,
  value,
  target: 1,
  isPeer
})

const broken = (result: Pacing): ReadonlyArray<string> => {
  const { circumstances, isPeer, maxAtOnce, peak, rate, who, window } = result
  if (isPeer) return []
  const line = `${who}, ${rate} per second, ${circumstances}`
  return [
    ...(window > 1 ? [`${line}: ${window} times the limit in a window`] : []),
    ...(peak > maxAtOnce ? [`${line}: ${peak} at once instead of ${maxAtOnce}`] : [])
  ]
}
