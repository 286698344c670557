/**
 * Publishes what happens at meters on the diagnostics channels of the host. `Diagnostics.ts` has the messages.
 *
 * A start is published by what calls the task: that is in the async context of the caller, and sees the end of the task.
 * The rest is published when all limiters of a request have changed, since a subscriber may use the meter.
 */
import { check } from "fibermeter/engine"
import type { admission, runtime } from "fibermeter/engine"
import type { EndMessage } from "../Diagnostics.ts"
import type { Context } from "./context.ts"
import { guarded } from "./guarded.ts"
import { observation } from "./observation.ts"
import type { About, Event, Observer, Task } from "./observation.ts"
import { plainPromise } from "./plainPromise.ts"
import { aborted } from "./signal.ts"

/** The part of a channel that is needed. */
interface Channel {
  readonly hasSubscribers: boolean
  publish(message: object): void
}

/** A limiter. Those of meters are shared. */
interface Named {
  readonly isShared: boolean
  readonly name?: string | undefined
  readonly key?: unknown
}

type Limiters = ReadonlyArray<Named>

let tasks = 0

/** Not by the host's clock, but by the one that subscribers have. */
const now = (): number => performance.now()

class Publisher implements Observer {
  private readonly channels: Readonly<Record<Event, Channel>>
  /** The tasks that wait, by their requests. */
  private readonly waiting = new WeakMap<object, { readonly id: number; readonly since: number }>()
  private starting: { readonly limiters: Limiters; readonly about: About<"start"> } | undefined

  constructor(channel: (name: string) => Channel) {
    // Kept, since the host keeps no channel that is not in use.
    this.channels = {
      enqueue: channel("fibermeter:enqueue"),
      start: channel("fibermeter:start"),
      end: channel("fibermeter:end"),
      refuse: channel("fibermeter:refuse"),
      pause: channel("fibermeter:pause"),
      store: channel("fibermeter:store")
    }
  }

  get isStarting(): boolean {
    return this.starting !== undefined
  }

  /** Whether anything about tasks is published. */
  private get isActive(): boolean {
    const { end, enqueue, refuse, start } = this.channels
    return start.hasSubscribers || end.hasSubscribers || enqueue.hasSubscribers || refuse.hasSubscribers
  }

  publish<E extends Event>(event: E, limiters: Limiters, about: About<E>): void {
    const channel = this.channels[event]
    if (!channel.hasSubscribers) return
    const at = now()
    for (const { isShared, key, name } of limiters) {
      if (isShared) guarded(() => channel.publish({ name, key, at, ...about }))
    }
  }

  waits(request: runtime.Waiting): void {
    if (!this.isActive) return
    const id = ++tasks
    this.waiting.set(request, { id, since: now() })
    const { cost, lane, permits, priority } = request as admission.Waiter
    this.publish("enqueue", request.limiters, { id, permits, priority, lane, cost })
  }

  leaves(
    request: Pick<runtime.Waiting, "limiters">,
    refusal?: { readonly _tag: string; readonly reason?: About<"refuse">["reason"] }
  ): void {
    if (!this.isActive) return
    const isCancelled = refusal === undefined || refusal === aborted
    const reason = isCancelled ? "cancelled" : (refusal.reason ?? (refusal._tag === "Failure" ? "failed" : "excessive"))
    this.publish("refuse", request.limiters, { ...this.taskOf(request), reason })
  }

  starts(request: runtime.Waiting): void {
    this.starting = this.isActive ? { limiters: request.limiters, about: this.taskOf(request) } : undefined
  }

  ends(): void {}

  call<Args extends ReadonlyArray<any>, B>(task: Task<Args, B>, args: Args, context: Context): B | PromiseLike<B> {
    const { about, limiters } = this.starting!
    this.starting = undefined
    this.publish("start", limiters, about)
    const startedAt = now()
    const end = (outcome: EndMessage["outcome"], error?: unknown): void => {
      const settled = context.cancelled === undefined ? outcome : "cancelled"
      this.publish("end", limiters, { id: about.id, runTime: now() - startedAt, outcome: settled, error })
    }
    try {
      const result = task(...args)
      if (!check.isThenable(result)) {
        end("success")
        return result
      }
      // What this returns is used as it is. So the first reaction is this one, before the task's permits are released.
      const promise = plainPromise(result)
      promise.then(
        () => end("success"),
        (error) => end("failure", error)
      )
      return promise
    } catch (error) {
      end("failure", error)
      throw error
    }
  }

  /** The request waits no longer. */
  private taskOf(request: object): About<"start"> {
    const task = this.waiting.get(request)
    this.waiting.delete(request)
    return task === undefined ? { id: ++tasks, waitTime: undefined } : { id: task.id, waitTime: now() - task.since }
  }
}

interface Globals {
  readonly process?: {
    readonly getBuiltinModule?: (id: string) => { readonly channel: (name: string) => Channel } | undefined
  }
}

/** Begins to observe, if the host has diagnostics channels. */
export const publishMessages = (): void => {
  // Read from the process, not imported: this module has to load in browsers as well.
  const module = (globalThis as Globals).process?.getBuiltinModule?.("node:diagnostics_channel")
  if (module !== undefined) observation.observer ??= new Publisher(module.channel)
}
