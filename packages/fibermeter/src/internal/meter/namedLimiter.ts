/**
 * Metrics and spans of the meters that have a name. A meter on a store has one, and guards its tasks here.
 *
 * The first of these meters sets an observer of the requests of all fibers. A request then costs a look at its limiters, and
 * before that a look at a variable.
 *
 * Metrics are those of the registry in the context of the caller. Gauges are changed by 1 and not set, so meters of the same
 * name, such as those of a family, add up.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type * as Tracer from "effect/Tracer"
import { causeOf, closed } from "../admission/errors.ts"
import type { Refusal } from "../admission/refusal.ts"
import type { WaitLimits } from "../admission/overload.ts"
import type { Limits } from "../input/limits.ts"
import { SharedLimiter } from "../limits/sharedLimiter.ts"
import { asFiberHost, observeWith } from "../runtime/fiberHost.ts"
import type { FiberHost, FiberObserver } from "../runtime/fiberHost.ts"
import { tracerOf } from "../runtime/effectInternals.ts"
import type { Waiting } from "../runtime/host.ts"

/** The metrics of the meters of one name. */
export class MeterMetrics {
  readonly name: string
  readonly running: Metric.Gauge<number>
  readonly waiting: Metric.Gauge<number>
  readonly started: Metric.Counter<number>
  readonly waitTime: Metric.Histogram<Duration.Duration>
  private readonly refusals = new Map<string, Metric.Counter<number>>()

  constructor(name: string) {
    this.name = name
    const attributes = { meter: name }
    const description = (text: string) => ({ description: text, attributes })
    this.running = Metric.gauge("fibermeter_running", description("Tasks that have started and not ended"))
    this.waiting = Metric.gauge("fibermeter_waiting", description("Tasks that wait for their start"))
    this.started = Metric.counter("fibermeter_started", {
      ...description("Tasks that have started"),
      incremental: true
    })
    this.waitTime = Metric.timer("fibermeter_wait_time", description("How long the tasks that have started had waited"))
  }

  refused(reason: string): Metric.Counter<number> {
    let counter = this.refusals.get(reason)
    if (counter === undefined) {
      counter = Metric.counter("fibermeter_refused", {
        description: "Tasks that have not started, by the reason",
        attributes: { meter: this.name, reason },
        incremental: true
      })
      this.refusals.set(reason, counter)
    }
    return counter
  }

  /** Rare, so that it is made each time: metrics are the same by their names and attributes. */
  happened(event: string): Metric.Counter<number> {
    return Metric.counter("fibermeter_store_events", {
      description: "What has happened at the store of the meter, by the event",
      attributes: { meter: this.name, event },
      incremental: true
    })
  }
}

export class NamedLimiter extends SharedLimiter {
  readonly metrics: MeterMetrics

  constructor(limits: Limits & WaitLimits, metrics: MeterMetrics) {
    super(limits)
    this.metrics = metrics
    observeWith(observer)
  }

  /** The effect of a task, for as long as it holds what it has taken here. */
  guarded<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return effect
  }
}

type Request = Pick<Waiting, "host" | "limiters">

interface Wait {
  readonly since: bigint
  /** Ends the span of the wait, if there is one. */
  readonly endSpan: ((exit: Exit.Exit<unknown, unknown>) => void) | undefined
}

const none: ReadonlyArray<NamedLimiter> = []

/** Those that have a name. An array is made only if there is one. */
const namedOf = (limiters: ReadonlyArray<object>): ReadonlyArray<NamedLimiter> => {
  for (let i = 0; i < limiters.length; i++) {
    if (limiters[i] instanceof NamedLimiter) return limiters.filter((limiter) => limiter instanceof NamedLimiter)
  }
  return none
}

/** The one that Effect has where no other is provided. */
let nativeTracer: Tracer.Tracer | undefined

/** Whether spans are exported: Effect's own tracer exports none, and a span costs more than many tasks do. */
const isTraced = (tracer: Tracer.Tracer | undefined): boolean =>
  tracer !== undefined && tracer !== (nativeTracer ??= Effect.runSync(Effect.tracer))

/** The options of the span of a task. */
const spanOf = (meters: ReadonlyArray<NamedLimiter>): Tracer.SpanOptionsNoTrace => ({
  attributes: { "fibermeter.meter": meters.map(({ metrics }) => metrics.name).join() }
})

/** Begins the span of a wait: that of a fiber which only waits for its end. Returns what ends it. */
const spanOfWait = (host: FiberHost, meters: ReadonlyArray<NamedLimiter>): Wait["endSpan"] => {
  let endSpan: Wait["endSpan"]
  const wait = Effect.callback<unknown, unknown>((end) => {
    endSpan = end
  })
  host.fork(Effect.useSpan("fibermeter.wait", spanOf(meters), () => wait))
  return endSpan
}

const reasonOf = (refusal: Refusal | undefined): string => {
  if (refusal === undefined) return "cancelled"
  if (refusal === closed()) return "closed"
  if (refusal._tag === "Overloaded") return refusal.reason
  return refusal._tag === "Failure" ? "failed" : "excessive"
}

class MeterObserver implements FiberObserver {
  private readonly waiting = new WeakMap<object, Wait>()

  waits(request: Request): void {
    const meters = namedOf(request.limiters)
    if (meters.length === 0) return
    const host = asFiberHost(request.host)
    const { clock, context } = host
    const endSpan = isTraced(host.tracer) ? spanOfWait(host, meters) : undefined
    this.waiting.set(request, { since: clock.monotonicTimeNanosUnsafe(), endSpan })
    for (const { metrics } of meters) metrics.waiting.modifyUnsafe(1, context)
  }

  leaves(request: Request, refusal: { readonly _tag: string } | undefined): void {
    const meters = namedOf(request.limiters)
    if (meters.length === 0) return
    const reason = refusal as Refusal | undefined
    const { context } = this.waitEnds(request, meters, () =>
      reason === undefined ? Exit.interrupt() : Exit.failCause(causeOf(reason))
    )
    for (const { metrics } of meters) metrics.refused(reasonOf(reason)).updateUnsafe(1, context)
  }

  starts(request: Request): void {
    const meters = namedOf(request.limiters)
    if (meters.length === 0) return
    const { context, time } = this.waitEnds(request, meters, () => Exit.void)
    for (const { metrics } of meters) {
      metrics.started.updateUnsafe(1, context)
      metrics.running.modifyUnsafe(1, context)
      metrics.waitTime.updateUnsafe(Duration.nanos(time), context)
    }
  }

  ends(request: Request): void {
    for (const { metrics } of namedOf(request.limiters)) {
      metrics.running.modifyUnsafe(-1, asFiberHost(request.host).context)
    }
  }

  trace<A, E, R>(effect: Effect.Effect<A, E, R>, limiters: ReadonlyArray<object>): Effect.Effect<A, E, R> {
    const meters = namedOf(limiters)
    if (meters.length === 0) return effect
    const guarded = meters.reduce((inner, meter) => meter.guarded(inner), effect)
    return Effect.withFiber((fiber) =>
      isTraced(tracerOf(fiber))
        ? // The stack would be that of the engine.
          (Effect.withSpan(guarded, "fibermeter.run", { ...spanOf(meters), captureStackTrace: false }) as typeof effect)
        : guarded
    )
  }

  /** The request waits no longer, if it has. Returns for how long it has waited, in nanoseconds. */
  private waitEnds(
    request: Request,
    meters: ReadonlyArray<NamedLimiter>,
    exit: () => Exit.Exit<unknown, unknown>
  ): Pick<FiberHost, "context"> & { readonly time: bigint } {
    const { clock, context } = asFiberHost(request.host)
    const wait = this.waiting.get(request)
    if (wait === undefined) return { context, time: 0n }
    this.waiting.delete(request)
    for (const { metrics } of meters) metrics.waiting.modifyUnsafe(-1, context)
    wait.endSpan?.(exit())
    return { context, time: clock.monotonicTimeNanosUnsafe() - wait.since }
  }
}

const observer = /* @__PURE__ */ new MeterObserver()
