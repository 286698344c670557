/**
 * The reference model of a meter with all its limits, and of what is done to it while it runs: no fibers, no clock, no
 * timers, nothing but a walk from one instant at which something can change to the next. Whole nanoseconds throughout.
 */

export interface ModelWindow {
  readonly limit: number
  readonly per: number
}

export interface ModelMeter {
  readonly maxAtOnce: number
  /** Nanoseconds from one start to the next, and R: how many starts a window of R such intervals holds. */
  readonly pace: { readonly interval: number; readonly places: number; readonly burst: number } | undefined
  readonly windows: Readonly<Record<string, ModelWindow>>
}

/** What is done, at an instant that is its own. */
export type ModelEvent = { readonly at: number } & (
  | {
      readonly do: "arrive"
      readonly task: number
      readonly lasts: number
      readonly cost: Readonly<Record<string, number>>
    }
  | { readonly do: "interrupt"; readonly task: number }
  | { readonly do: "correct"; readonly task: number; readonly cost: Readonly<Record<string, number>> }
  | { readonly do: "pause"; readonly nanos: number }
  | { readonly do: "resume" }
  | { readonly do: "resize"; readonly limits: Partial<ModelMeter> }
)

/** When each task starts. */
export const meterModel = (meter: ModelMeter, events: ReadonlyArray<ModelEvent>): ReadonlyMap<number, number> => {
  let { maxAtOnce, pace, windows } = meter
  const starts = new Map<number, number>()
  const costs = new Map<number, Readonly<Record<string, number>>>()
  const lasting = new Map<number, number>()
  const running = new Map<number, number>()
  /** What has been spent, window by window. */
  const spent = new Map<string, Array<{ readonly task: number; readonly at: number; amount: number }>>()
  let queue: Array<number> = []
  let now = 0
  let pausedUntil = -Infinity
  /** The next start comes at this instant or later. That it lies in the past is credit for a burst. */
  let slot = -Infinity
  let past: Array<number> = []

  const logOf = (name: string) => spent.get(name) ?? spent.set(name, []).get(name)!
  const inWindow = (name: string) => logOf(name).filter(({ at }) => at + windows[name]!.per > now)
  const fits = (name: string, cost: number) =>
    inWindow(name).reduce((sum, { amount }) => sum + amount, cost) <= windows[name]!.limit
  const windowBack = () =>
    pace === undefined ? -Infinity : (past.at(-pace.places) ?? -Infinity) + pace.places * pace.interval

  /** Whether the first waiter would start without the rate. */
  const isFree = () =>
    pausedUntil <= now &&
    running.size < maxAtOnce &&
    windowBack() <= now &&
    Object.keys(windows).every((name) => fits(name, costs.get(queue[0]!)![name] ?? 1))

  const start = () => {
    const task = queue.shift()!
    starts.set(task, now)
    running.set(task, now + lasting.get(task)!)
    for (const name of Object.keys(windows)) logOf(name).push({ task, at: now, amount: costs.get(task)![name] ?? 1 })
    if (pace === undefined) return
    past.push(now)
    slot = Math.max(slot + pace.interval, windowBack())
  }

  const settle = () => {
    for (let changed = true; changed;) {
      changed = false
      for (const [task, end] of running) if (end <= now) changed = running.delete(task)
      if (queue.length > 0 && slot <= now && isFree()) {
        start()
        changed = true
      }
    }
  }

  const walkTo = (to: number) => {
    for (;;) {
      const instants = [
        ...running.values(),
        pausedUntil,
        slot,
        windowBack(),
        ...Object.keys(windows).flatMap((name) => logOf(name).map(({ at }) => at + windows[name]!.per))
      ].filter((instant) => instant > now && instant < to)
      const next = Math.min(to, ...instants)
      // A waiter for anything else than its slot accrues no credit.
      if (queue.length > 0 && !isFree()) slot = slot <= now ? slot + (next - now) : Math.max(slot, next)
      now = next
      settle()
      if (next === to) return
    }
  }

  for (const event of events.toSorted((a, b) => a.at - b.at)) {
    walkTo(event.at)
    if (event.do === "arrive") {
      if (queue.length === 0 && pace !== undefined) slot = Math.max(slot, now - (pace.burst - 1) * pace.interval)
      costs.set(event.task, event.cost)
      lasting.set(event.task, event.lasts)
      queue.push(event.task)
    } else if (event.do === "interrupt") {
      queue = queue.filter((task) => task !== event.task)
      running.delete(event.task)
    } else if (event.do === "correct") {
      if (!running.has(event.task)) continue
      for (const [name, amount] of Object.entries(event.cost)) {
        const entry = inWindow(name).find(({ task }) => task === event.task)
        if (entry !== undefined) entry.amount = amount
      }
    } else if (event.do === "pause") {
      pausedUntil = Math.max(pausedUntil, now + event.nanos)
    } else if (event.do === "resume") {
      pausedUntil = -Infinity
    } else {
      const { limits } = event
      // What the old windows have lost sight of is forgotten.
      for (const name of Object.keys(windows)) spent.set(name, inWindow(name))
      if (limits.pace !== undefined) {
        // One new interval after the last start; a wait before or now accrues no credit.
        past = pace === undefined ? [] : past.slice(-Math.min(pace.places, limits.pace.places))
        slot = (past.at(-1) ?? -Infinity) + limits.pace.interval
        if (queue.length > 0)
          slot = Math.max(slot, now - (pace === undefined ? limits.pace.burst - 1 : 0) * limits.pace.interval)
        pace = limits.pace
      }
      maxAtOnce = limits.maxAtOnce ?? maxAtOnce
      windows = { ...windows, ...limits.windows }
    }
    settle()
  }
  walkTo(Number.MAX_SAFE_INTEGER)
  return starts
}
