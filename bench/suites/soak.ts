/** A long run at a high rate through a shared meter: whether it drifts, and whether anything piles up. */
import { amap as amapPromise, createMeter, runOnEach as runOnEachPromise } from "@fibermeter/promise"
import { Effect, Stream } from "effect"
import { amap, Meter, runOnEach } from "fibermeter"
import * as format from "../lib/format.ts"
import { liveHeap } from "../lib/heap.ts"
import { range } from "../lib/range.ts"
import { Starts } from "../lib/starts.ts"
import type { Scale, Suite } from "../lib/suite.ts"

interface Soak {
  readonly who: string
  readonly starts: number
  readonly seconds: number
  /** Of the rate, slice by slice. */
  readonly shares: ReadonlyArray<number>
  /** The live heap at the end of each slice, in bytes. */
  readonly heaps: ReadonlyArray<number>
  readonly window: number
}

const rate = 100_000
const slices = { full: 6, quick: 2, smoke: 2 } as const
const sliceSeconds = { full: 10, quick: 2, smoke: 0.6 } as const

/** Runs tasks without end, in several calls that share one meter, until the signal aborts. */
type Endless = (task: () => void, signal: AbortSignal) => Promise<unknown>

const endless: Readonly<Record<string, Endless>> = {
  core: (task, signal) => {
    const meter = Meter.makeUnsafe({ maxPerSecond: rate })
    const effect = () => Effect.sync(task)
    const calls: ReadonlyArray<Effect.Effect<unknown>> = [
      runOnEach(range(Infinity), effect, { meter }),
      Stream.runDrain(amap(range(Infinity), effect, { meter })),
      Effect.forever(Meter.metered(Effect.sync(task), meter))
    ]
    return Effect.runPromise(Effect.all(calls, { concurrency: "unbounded" }), { signal })
  },
  promise: (task, signal) => {
    const meter = createMeter({ maxPerSecond: rate })
    const one = async (): Promise<void> => {
      while (!signal.aborted) await meter.run(task)
    }
    const all = async (): Promise<void> => {
      for await (const _ of amapPromise(range(Infinity), task, { meter, signal }));
    }
    return Promise.all([runOnEachPromise(range(Infinity), task, { meter, signal }), all(), one()])
  }
}

/**
 * From the measurement of the heap to the next slice, in milliseconds. A full garbage collection stops the program, so it is no
 * part of a slice. Nor is the window after it, in which a meter may make up for it.
 */
const settling = 1000

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

const measure = async (who: string, scale: Scale): Promise<Soak> => {
  const seconds = slices[scale] * sliceSeconds[scale]
  const warmUp = scale === "full" ? 2 : 0.2
  // Beyond what is allowed, so that too many would show.
  const starts = new Starts(Math.ceil(rate * (seconds + warmUp + (slices[scale] * settling) / 1000) * 1.2))
  const controller = new AbortController()
  const ended = endless[who]!(() => starts.stamp(), controller.signal).then(
    () => new Error("ended by itself"),
    (error: unknown) => (controller.signal.aborted ? undefined : error)
  )
  await sleep(warmUp * 1000)
  const shares: Array<number> = []
  const heaps: Array<number> = []
  for (let slice = 0; slice < slices[scale]; slice++) {
    const from = starts.length - 1
    await sleep(sliceSeconds[scale] * 1000)
    shares.push(starts.rate(from, starts.length - 1) / rate)
    heaps.push(liveHeap())
    await sleep(settling)
  }
  controller.abort()
  const problem = await ended
  if (problem !== undefined) throw problem
  return { who, starts: starts.length, seconds, shares, heaps, window: starts.mostIn(1) / rate }
}

export const soak: Suite<Soak> = {
  name: "soak",
  lines: (scale) => Object.keys(endless).map((who) => ({ label: who, measure: () => measure(who, scale) })),
  report: (results) => ({
    title: `Soak: ${format.count(rate)} starts per second through a shared meter`,
    notes: [
      "Three endless calls share the meter. One package after the other, each in its own process. The shares and the live heap (after a full garbage collection) are listed for each slice of the time. A slice begins a second after that collection, which stops the program."
    ],
    tables: [
      {
        columns: ["who", "starts", "seconds", "share of the rate, by slice", "live heap, by slice", "window"],
        rows: results.map(({ heaps, seconds, shares, starts, who, window }) => [
          who,
          format.count(starts),
          format.count(seconds),
          shares.map(format.percent).join(", "),
          heaps.map(format.megabytes).join(", "),
          window.toFixed(4)
        ])
      }
    ],
    charts: [],
    broken: results.flatMap(({ who, window }) =>
      window > 1 ? [`soak, ${who}: ${window} times the limit in a window`] : []
    )
  })
}
