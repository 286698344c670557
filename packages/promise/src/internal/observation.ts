/**
 * What observes the calls of this package. Apart from the code that does it, so that a program without meters does not
 * load that.
 */
import type { runtime } from "fibermeter/engine"
import type { MeterChannels, MeterMessage } from "../Diagnostics.ts"
import type { Context } from "./context.ts"

export type Event = keyof MeterChannels extends `fibermeter:${infer E}` ? E : never

/** What a message says beside the meter and the time. */
export type About<E extends Event> = Omit<MeterChannels[`fibermeter:${E}`], keyof MeterMessage>

export type Task<Args extends ReadonlyArray<any>, B> = (...args: Args) => B | PromiseLike<B>

export interface Observer extends runtime.Observer {
  publish<E extends Event>(event: E, limiters: runtime.Waiting["limiters"], about: About<E>): void
  leaves(request: Pick<runtime.Waiting, "limiters">, refusal?: { readonly _tag: string }): void
  /** Whether a task is about to be called that has to be called by `call`. */
  readonly isStarting: boolean
  call<Args extends ReadonlyArray<any>, B>(task: Task<Args, B>, args: Args, context: Context): B | PromiseLike<B>
}

export const observation: { observer: Observer | undefined } = { observer: undefined }

/** The task of a verb, observed if anything is. */
export const observing = <A, B>(task: Task<[item: A, context: any], B>): Task<[item: A, context: any], B> => {
  const { observer } = observation
  if (observer === undefined) return task
  return (item, context) =>
    observer.isStarting ? observer.call(task, [item, context], context as Context) : task(item, context)
}
