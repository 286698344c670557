/**
 * The same tasks, run by fibermeter and by other libraries: each as its documentation shows it, with as many of the
 * limits as it has options for. None of the others is given code of ours for what it does not do.
 */
import { amap, createMeter, runAll, runAny, runOnEach } from "@fibermeter/promise"
import type { AmapOptions, MeterLimits } from "@fibermeter/promise"
import Bottleneck from "bottleneck/light.js"
import pMap, { pMapIterable } from "p-map"
import PQueue from "p-queue"
import pThrottle from "p-throttle"
import { arrivalOf, isUrgent, laneOf } from "./random.ts"
import type { Recorder } from "./recording.ts"
import { sleep } from "./request.ts"
import type { Request } from "./request.ts"
import type { Settings } from "./settings.ts"
import type { Way } from "./wayNames.ts"

interface Run {
  readonly settings: Settings
  readonly items: ReadonlyArray<number>
  readonly request: Request
  readonly recorder: Recorder
}

const limitsOf = ({
  maxAtOnce,
  maxBurst,
  maxPerSecond,
  windowLimit,
  windowSeconds
}: Settings): Pick<MeterLimits, "maxAtOnce" | "maxPerSecond" | "maxBurst" | "windows"> => ({
  ...(maxAtOnce > 0 && { maxAtOnce }),
  ...(maxPerSecond > 0 && { maxPerSecond, maxBurst }),
  ...(windowLimit > 0 && { windows: { quota: { limit: windowLimit, per: windowSeconds * 1000 } } })
})

/** Reads as slowly as the settings say. Returns early if the reader leaves. */
const read = async (results: AsyncIterable<number>, { recorder, settings }: Run): Promise<void> => {
  let count = 0
  for await (const task of results) {
    recorder.reads(task)
    if (++count === settings.leaveAfter) break
    if (settings.reader > 0) await sleep(settings.reader, undefined)
  }
}

/** Makes calls as they arrive, and waits until all have settled. */
const callEach = async (run: Run, call: (task: number) => Promise<unknown>): Promise<void> => {
  const { items, recorder, settings } = run
  await Promise.all(
    items.map(async (task) => {
      const at = arrivalOf(settings, task)
      if (at > 0) await sleep(at, undefined)
      recorder.waits(task)
      // A call that fails concerns its caller alone.
      await call(task).then(
        () => recorder.reads(task),
        () => undefined
      )
    })
  )
}

const fibermeter = async (run: Run): Promise<void> => {
  const { items, recorder, request, settings } = run
  const limits = limitsOf(settings)
  const retry = settings.retries === 0 ? {} : { retry: { times: settings.retries, delay: settings.retryDelay } }
  if (settings.verb === "run") {
    const meter = createMeter(limits)
    return callEach(run, (task) =>
      meter.run(({ signal }) => request(task, signal), {
        ...retry,
        ...(settings.lanes > 0 && { lane: laneOf(settings, task) }),
        ...(settings.urgent > 0 && { priority: isUrgent(settings, task) ? 1 : 0 })
      })
    )
  }
  const task = (item: number, { signal }: { readonly signal: AbortSignal }): Promise<number> => request(item, signal)
  const options = { ...limits, ...retry }
  const goesOn = settings.onFailure === "continue"
  switch (settings.verb) {
    case "runAll": {
      await runAll(items, task, goesOn ? { ...options, stopOnError: false } : options)
      return
    }
    case "runOnEach":
      return runOnEach(items, task, goesOn ? { ...options, stopOnError: false } : options)
    case "amap": {
      const amapOptions: Omit<AmapOptions, "settled"> = {
        ...options,
        ...(goesOn && { stopOnError: false }),
        ...(settings.ordered && { ordered: true }),
        ...(settings.maxUnread > 0 && { maxUnread: settings.maxUnread })
      }
      return read(amap(items, task, amapOptions), run)
    }
    case "runAny": {
      recorder.reads(await runAny(items, task, options))
    }
  }
}

/** By a function that starts a task when a library admits it. */
const byStarting = async (run: Run, start: (task: number) => Promise<number>): Promise<void> => {
  const { items, recorder, settings } = run
  switch (settings.verb) {
    case "run":
      return callEach(run, start)
    case "runAny":
      recorder.reads(await Promise.any(items.map(start)))
      return
    case "amap": {
      const results = await collect(run, start)
      return read(
        (async function* () {
          yield* results
        })(),
        run
      )
    }
    case "runAll":
    case "runOnEach":
      await collect(run, start)
  }
}

const collect = async (
  { items, settings }: Run,
  start: (task: number) => Promise<number>
): Promise<ReadonlyArray<number>> => {
  if (settings.onFailure === "stop") return Promise.all(items.map(start))
  const outcomes = await Promise.allSettled(items.map(start))
  const failures = outcomes.flatMap((each) => (each.status === "rejected" ? [each.reason as unknown] : []))
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} tasks have failed`)
  return outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []))
}

/** The limit of a library that has only one: so many starts in each interval. */
const intervalOf = ({
  maxPerSecond,
  windowLimit,
  windowSeconds
}: Settings): { readonly limit: number; readonly interval: number } | undefined => {
  if (maxPerSecond > 0) {
    const limit = Math.max(1, Math.floor(maxPerSecond))
    return { limit, interval: Math.ceil((limit * 1000) / maxPerSecond) }
  }
  return windowLimit > 0 ? { limit: windowLimit, interval: windowSeconds * 1000 } : undefined
}

const implementations: Readonly<Record<Way, (run: Run) => Promise<void>>> = {
  fibermeter,
  "Promise.all": (run) => byStarting(run, (task) => run.request(task)),
  "p-map": async (run) => {
    const { items, request, settings } = run
    const { maxAtOnce: concurrency, verb } = settings
    const limit = concurrency > 0 ? { concurrency } : {}
    const mapper = (item: number): Promise<number> => request(item)
    if (verb === "amap") {
      const results = pMapIterable(items, mapper, {
        ...limit,
        ...(!settings.ordered && { preserveOrder: false }),
        ...(concurrency > 0 && settings.maxUnread >= concurrency && { backpressure: settings.maxUnread })
      })
      return read(results, run)
    }
    if (verb === "run" || verb === "runAny") return byStarting(run, mapper)
    await pMap(items, mapper, { ...limit, stopOnError: settings.onFailure === "stop" })
  },
  "p-queue": async (run) => {
    const { settings } = run
    const each = intervalOf(settings)
    const queue = new PQueue({
      ...(settings.maxAtOnce > 0 && { concurrency: settings.maxAtOnce }),
      ...(each !== undefined && { intervalCap: each.limit, interval: each.interval })
    })
    return byStarting(run, (task) => queue.add(() => run.request(task), { priority: isUrgent(settings, task) ? 1 : 0 }))
  },
  "p-throttle": async (run) => {
    const each = intervalOf(run.settings)
    const request = (task: number): Promise<number> => run.request(task)
    return byStarting(run, each === undefined ? request : pThrottle(each)(request))
  },
  bottleneck: async (run) => {
    const { maxAtOnce, maxPerSecond, windowLimit, windowSeconds } = run.settings
    const limiter = new Bottleneck({
      maxConcurrent: maxAtOnce > 0 ? maxAtOnce : null,
      ...(maxPerSecond > 0 && { minTime: 1000 / maxPerSecond }),
      ...(windowLimit > 0 && {
        reservoir: windowLimit,
        reservoirRefreshAmount: windowLimit,
        reservoirRefreshInterval: windowSeconds * 1000
      })
    })
    try {
      await byStarting(run, (task) =>
        limiter.schedule({ priority: isUrgent(run.settings, task) ? 4 : 5 }, () => run.request(task))
      )
    } finally {
      await limiter.disconnect()
    }
  }
}

/** Runs the tasks of the settings. Rejects with what the call rejects with. */
export const runBy = (way: Way, settings: Settings, request: Request, recorder: Recorder): Promise<void> => {
  const items = Array.from({ length: settings.tasks }, (_, index) => index)
  if (settings.verb !== "run") for (const task of items) recorder.waits(task)
  return implementations[way]({ settings, items, request, recorder })
}
