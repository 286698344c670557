/**
 * Cloudflare's workerd, many requests at once: the published facade in a Worker whose isolate serves ten of them, with
 * calls of their own and with meters at module level that they share. A case has passed when every one of its requests
 * was answered with what its call has to give.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { Miniflare, supportedCompatibilityDate } from "miniflare"
import type { TestReport } from "../inside/report.ts"
import type { Host } from "./host.ts"
import { version } from "./workerd.ts"

const library = join(import.meta.dirname, "../../packages/promise/dist/index.js")

const file = "many requests"

/** How long an answer may take: many times what it takes. */
const maxMillis = 20_000

/** In the order in which they run: what a request leaves behind is there for those after it. */
const cases = [
  { name: "ownPermits", requests: 10, means: "calls with a maxAtOnce of their own" },
  { name: "ownRate", requests: 10, means: "calls with a maxPerSecond of their own" },
  { name: "notAwaited", requests: 3, means: "requests that return without awaiting their calls" },
  { name: "ownPermits", requests: 10, means: "calls with a maxAtOnce of their own, after those" },
  { name: "ownRate", requests: 10, means: "calls with a maxPerSecond of their own, after those" },
  { name: "permits", requests: 10, means: "a shared meter: maxAtOnce" },
  { name: "rate", requests: 10, means: "a shared meter: maxPerSecond" },
  { name: "window", requests: 10, means: "a shared meter: a window" },
  { name: "several", requests: 10, means: "two shared meters for one call" },
  { name: "run", requests: 10, means: "run on a shared meter with maxAtOnce" },
  { name: "runRate", requests: 10, means: "run on a shared meter with maxPerSecond" },
  { name: "retries", requests: 10, means: "retries on a shared meter" },
  { name: "many", requests: 3, means: "a call of so many cheap tasks that it yields" },
  { name: "idle", requests: 3, means: "idle on a shared meter" },
  { name: "endedWaiter", requests: 3, means: "a shared meter with a waiter of a request that has ended" }
] as const

const worker = `
import { amap, createMeter, runAll } from "./facade.mjs"

const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis))
const busy = () => { for (let i = 0, n = 0; i < 2e5; i++) n += i }
const list = [1, 2, 3, 4]

// To read a signal in another request than its own throws: so each task is seen to start in the request of its call.
const task = () => {
  const { signal } = new AbortController()
  return async (x) => {
    if (signal.aborted) return "aborted"
    await sleep(20)
    busy()
    return x
  }
}

const shared = {
  permits: createMeter({ maxAtOnce: 2 }),
  rate: createMeter({ maxPerSecond: 100 }),
  window: createMeter({ windows: { calls: { limit: 5, per: 100 } } }),
  a: createMeter({ maxAtOnce: 3 }),
  b: createMeter({ maxPerSecond: 100 }),
  run: createMeter({ maxAtOnce: 2 }),
  runRate: createMeter({ maxPerSecond: 100 }),
  retries: createMeter({ maxAtOnce: 2 }),
  idle: createMeter({ maxAtOnce: 1 }),
  ended: createMeter({ maxAtOnce: 1 })
}

const runEach = (meter) => {
  const each = task()
  const { signal } = new AbortController()
  return Promise.all(list.map((x) => meter.run(() => each(x), { signal })))
}

const cases = {
  ownPermits: () => runAll(list, task(), { maxAtOnce: 2 }),
  ownRate: () => runAll(list, task(), { maxPerSecond: 20 }),
  notAwaited: async () => {
    void runAll(list, task(), { maxAtOnce: 2 })
    void runAll(list, task(), { maxPerSecond: 20 })
    return list
  },
  permits: () => runAll(list, task(), { meter: shared.permits }),
  rate: () => runAll(list, task(), { meter: shared.rate }),
  window: () => runAll(list, task(), { meter: shared.window }),
  several: () => runAll(list, task(), { meter: [shared.a, shared.b] }),
  run: () => runEach(shared.run),
  runRate: () => runEach(shared.runRate),
  retries: () => {
    const each = task()
    const failed = new Set()
    return runAll(
      list,
      (x) => {
        if (failed.has(x)) return each(x)
        failed.add(x)
        throw new Error("once")
      },
      { meter: shared.retries, retry: { delay: 10 } }
    )
  },
  many: async () => {
    let sum = 0
    for await (const x of amap(Array.from({ length: 20_000 }, () => 1), (x) => x)) sum += x
    return sum === 20_000 ? list : [sum]
  },
  idle: async () => {
    void shared.idle.run(() => sleep(50))
    await shared.idle.idle()
    return list
  },
  endedWaiter: async (index) => {
    await sleep(20 * index)
    if (index === 0) await shared.ended.run(() => sleep(200))
    if (index === 1) void shared.ended.run(() => sleep(1))
    return index === 2 ? runAll(list, task(), { meter: shared.ended }) : list
  }
}

export default {
  fetch: async (request) => {
    try {
      const { pathname, search } = new URL(request.url)
      return Response.json(await cases[pathname.slice(1)](Number(search.slice(1))))
    } catch (error) {
      return new Response(error.stack, { status: 500 })
    }
  }
}`

const isAnswer = (text: string): boolean => text === "[1,2,3,4]"

const requests = (name: string, flags: Array<string>, compatibilityDate: string): Host => ({
  name,
  self: "workerd",
  version,
  tests: cases.map(({ means }) => ({ file, name: means })),
  run: async (_bundle, signal) => {
    const began = performance.now()
    const miniflare = new Miniflare({
      modules: [
        { type: "ESModule", path: "worker.mjs", contents: worker },
        { type: "ESModule", path: "facade.mjs", contents: readFileSync(library, "utf8") }
      ],
      compatibilityDate,
      compatibilityFlags: flags,
      // It would be fetched.
      cf: false,
      // What a request says that the runtime has ended is in its answer, too.
      handleRuntimeStdio: (out: Readable, err: Readable) => {
        out.resume()
        err.resume()
      }
    })
    const answer = async (path: string): Promise<string> => {
      try {
        const timeout = AbortSignal.any([signal, AbortSignal.timeout(maxMillis)])
        const response = await miniflare.dispatchFetch(`http://localhost/${path}`, { signal: timeout })
        return await response.text()
      } catch (error) {
        return String(error)
      }
    }
    try {
      const tests: Array<TestReport> = []
      for (const { means, name, requests } of cases) {
        const answers = await Promise.all(Array.from({ length: requests }, (_, index) => answer(`${name}?${index}`)))
        const errors = answers.filter((text) => !isAnswer(text))
        tests.push({ file, name: means, state: errors.length === 0 ? "pass" : "fail", errors })
      }
      return { host: name, tests, problems: [], seconds: (performance.now() - began) / 1000 }
    } finally {
      await miniflare.dispose()
    }
  }
})

/** From 2024-10-14 on, reactions to a promise run in the request that made it. */
const beforeThat = "2024-10-01"

export const manyRequests: ReadonlyArray<Host> = [
  requests("workerd, ten requests at once", [], supportedCompatibilityDate),
  requests("workerd with nodejs_compat, ten requests at once", ["nodejs_compat"], supportedCompatibilityDate),
  requests(`workerd as of ${beforeThat}, ten requests at once`, [], beforeThat)
]
