/** The p-throttle section of the guide. */
import { beforeEach, expect, it, vi } from "vitest"
import pThrottle from "p-throttle"
import { createMeter } from "@fibermeter/promise"
import { aroundTheEnd, ask, diary, getPage, ids, mostAtOnce, starts, waitWhenSetBack } from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { pass, rejection, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

let throttle = pThrottle({ limit: 2, interval: 1000 })
let api = createMeter({ windows: { calls: { limit: 2, per: 1000 } } })
beforeEach(() => {
  throttle = pThrottle({ limit: 2, interval: 1000 })
  api = createMeter({ windows: { calls: { limit: 2, per: 1000 } } })
})

call(
  "limit the calls in a time window",
  {
    theirs: () => pThrottle({ limit: 2, interval: 1000 }),
    ours: () => createMeter({ windows: { calls: { limit: 2, per: 1000 } } })
  },
  {
    gives: [0, 0, 1000, 1000, 2000, 2000],
    theirs: (throttle) => starts(throttle((task: () => Promise<void>) => task())),
    ours: (api) => starts((task) => api.run(task))
  }
)

call(
  "limit the calls in a time window, spread evenly after a burst",
  {
    theirs: () => pThrottle({ limit: 2, interval: 100, strict: true }),
    ours: () => createMeter({ maxPerSecond: 20, maxBurst: 2, windows: { calls: { limit: 2, per: 100 } } })
  },
  {
    gives: [0, 0, 100, 150, 200, 250],
    theirs: (throttle) => starts(throttle((task: () => Promise<void>) => task())),
    ours: (api) => starts((task) => api.run(task))
  }
)

call(
  "make a throttled function, by `throttle` or `api`",
  {
    theirs: () => throttle(getPage),
    ours: () => api.wrap(getPage)
  },
  { gives: "page 1", theirs: (get) => get(1), ours: (get) => get(1) }
)

call(
  "count the waiting calls",
  {
    theirs: () => throttle(getPage).queueSize,
    ours: () => api.snapshot().waiting
  },
  {
    during: {
      theirs: () => Promise.all(ids.map(throttle(getPage))),
      ours: () => Promise.all(ids.map((id) => api.run(() => getPage(id))))
    },
    gives: 1
  }
)

call(
  "give calls different weights",
  {
    theirs: async () => {
      const throttle = pThrottle({ limit: 10, interval: 1000, weight: (points) => points })
      const throttled = throttle(ask)
      const answers = await Promise.all([throttled(6), throttled(4), throttled(5)])
      return answers
    },
    ours: async () => {
      const api = createMeter({ windows: { points: { limit: 10, per: 1000 } } })
      const throttled = api.wrap(ask, { cost: (points) => ({ points }) })
      const answers = await Promise.all([throttled(6), throttled(4), throttled(5)])
      return answers
    }
  },
  { gives: ["6 at 0 ms", "4 at 0 ms", "5 at 1000 ms"] }
)

call(
  "cancel the waiting calls",
  {
    theirs: async () => {
      const controller = new AbortController()
      const throttle = pThrottle({ limit: 1, interval: 1000, signal: controller.signal })
      const get = throttle(getPage)
      const all = [get(1), get(2)]
      await all[0]
      controller.abort("no longer wanted")
      const outcomes = await Promise.allSettled(all)
      return outcomes
    },
    ours: async () => {
      const controller = new AbortController()
      const api = createMeter({ windows: { calls: { limit: 1, per: 1000 } } })
      const get = api.wrap(getPage, { signal: controller.signal })
      const all = [get(1), get(2)]
      await all[0]
      controller.abort("no longer wanted")
      const outcomes = await Promise.allSettled(all)
      return outcomes
    }
  },
  {
    gives: [
      { status: "fulfilled", value: "page 1" },
      { status: "rejected", reason: "no longer wanted" }
    ]
  }
)

differs("`limit: 2, interval: 1000` without `strict`, and a window of 2 per 1000 ms", {
  theirs: [
    "can start 3 calls within 1000 ms, around the end of an interval",
    async () => {
      const throttled = pThrottle({ limit: 2, interval: 1000 })((task: () => Promise<void>) => task())
      expect(await aroundTheEnd(throttled)).toEqual([0, 999, 1000, 1000, 2000, 2000])
    }
  ],
  ours: [
    "never starts more than 2 within any 1000 ms",
    async () => {
      const api = createMeter({ windows: { calls: { limit: 2, per: 1000 } } })
      expect(await aroundTheEnd((task) => api.run(task))).toEqual([0, 999, 1000, 1999, 2000, 2999])
    }
  ]
})

differs("The time when a call starts", {
  theirs: [
    "is set when the call is made: each waiting call has its own timer, and nothing can delay it",
    async () => {
      const { log, note } = diary()
      const throttled = pThrottle({ limit: 1, interval: 1000 })(async (name: string) => note(name))
      const all = ["1", "2", "3"].map((name) => throttled(name))
      expect(vi.getTimerCount()).toBe(2)
      await value(Promise.all(all))
      expect(log).toEqual(["0: 1", "1000: 2", "2000: 3"])
    }
  ],
  ours: [
    "is decided when the call is the first in the queue: `api.pause()` and `api.resize()` also apply to waiting calls",
    async () => {
      const { log, note } = diary()
      const api = createMeter({ maxPerSecond: 1 })
      const all = ["1", "2", "3"].map((name) => api.run(() => note(name)))
      await pass(500)
      api.resize({ maxPerSecond: 2 })
      await pass(100)
      api.pause(2000)
      await pass(5000)
      expect(all).toHaveLength(3)
      expect(log).toEqual(["0: 1", "500: 2", "2600: 3"])
    }
  ]
})

differs("With weights and `strict`", {
  theirs: [
    "a light call overtakes a heavy one that waits",
    async () => {
      const { log, note } = diary()
      const options = { limit: 10, interval: 1000, strict: true, weight: (points: number) => points }
      const ask = pThrottle(options)(async (points: number) => note(`${points}`))
      await value(Promise.all([ask(8), ask(9), ask(2)]))
      expect(log).toEqual(["0: 8", "0: 2", "1000: 9"])
    }
  ],
  ours: [
    "calls start first come, first served",
    async () => {
      const { log, note } = diary()
      const api = createMeter({ windows: { points: { limit: 10, per: 1000 } } })
      const ask = api.wrap((points: number) => note(`${points}`), { cost: (points) => ({ points }) })
      await value(Promise.all([ask(8), ask(9), ask(2)]))
      expect(log).toEqual(["0: 8", "1000: 9", "2000: 2"])
    }
  ]
})

differs("A call that weighs more than the limit", {
  theirs: [
    "rejects with a `TypeError`",
    async () => {
      const ask = pThrottle({ limit: 10, interval: 1000, weight: () => 11 })(() => "never")
      await expect(Promise.resolve(ask())).rejects.toThrow(TypeError)
    }
  ],
  ours: [
    "rejects with a `RangeError`",
    async () => {
      const api = createMeter({ windows: { points: { limit: 10, per: 1000 } } })
      const ask = api.wrap(() => "never", { cost: () => ({ points: 11 }) })
      await expect(ask()).rejects.toThrow(RangeError)
    }
  ]
})

differs("Calls made after the signal was aborted", {
  theirs: [
    "run",
    async () => {
      const controller = new AbortController()
      const get = pThrottle({ limit: 1, interval: 1000, signal: controller.signal })(getPage)
      controller.abort("no longer wanted")
      expect(await value(get(1))).toBe("page 1")
    }
  ],
  ours: [
    "reject with its reason",
    async () => {
      const controller = new AbortController()
      const get = createMeter({ maxPerSecond: 1 }).wrap(getPage, { signal: controller.signal })
      controller.abort("no longer wanted")
      expect(await rejection(get(1))).toBe("no longer wanted")
    }
  ]
})

differs("A limit on how many calls run at once", {
  theirs: [
    "needs another library",
    async () => {
      const options = { limit: 10, interval: 1000, concurrency: 1 }
      expect(await value(mostAtOnce(pThrottle(options)((task: () => Promise<void>) => task())))).toBe(5)
    }
  ],
  ours: [
    "is the option `maxAtOnce` of the same meter",
    async () => {
      const api = createMeter({ maxAtOnce: 1, windows: { calls: { limit: 10, per: 1000 } } })
      expect(await value(mostAtOnce((task) => api.run(task)))).toBe(1)
    }
  ]
})

differs("When the system clock is set back by an hour, the next call", {
  theirs: [
    "may be an hour late",
    async () => {
      const throttled = pThrottle({ limit: 1, interval: 1000 })((task: () => Promise<void>) => task())
      expect(await waitWhenSetBack(throttled)).toBeGreaterThan(3_600_000)
    }
  ],
  ours: [
    "is on time: fibermeter reads a monotonic clock",
    async () => {
      const api = createMeter({ maxPerSecond: 1 })
      expect(await waitWhenSetBack((task) => api.run(task))).toBe(1000)
    }
  ]
})

differs("`onDelay` and `isEnabled`", {
  theirs: [
    "report each call that has to wait, and turn throttling off",
    async () => {
      const { log, note } = diary()
      const onDelay = (name: string) => note(`${name} waits`)
      const throttled = pThrottle({ limit: 1, interval: 1000, onDelay })(async (name: string) => note(name))
      const all = [throttled("1"), throttled("2")]
      throttled.isEnabled = false
      all.push(throttled("3"))
      await value(Promise.all(all))
      expect(log).toEqual(["0: 1", "0: 2 waits", "0: 3", "1000: 2"])
    }
  ],
  ours: [
    "have no equivalent; `api.snapshot().nextStart` tells how long the next call would wait",
    async () => {
      const api = createMeter({ maxPerSecond: 1 })
      expect(api.snapshot().nextStart).toBe(0)
      await value(api.run(() => 1))
      expect(api.snapshot().nextStart).toBe(1000)
    }
  ]
})

it("a rate of 100 per second with a burst of 10 starts up to 19 in 100 ms, as the guide says", async () => {
  const { instants, note } = diary()
  const api = createMeter({ maxPerSecond: 100, maxBurst: 10 })
  void Promise.all(Array.from({ length: 30 }, () => api.run(() => note("start"))))
  await pass(1000)
  expect(instants().filter((at) => at < 100)).toHaveLength(19)
})
