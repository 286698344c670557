/**
 * All that relies on undocumented parts of Effect: private fields, the marks of its values, the meaning of its step counter.
 * `effectInternals.test.ts` fails if a version of Effect changes one of them.
 *
 * The facade uses a part of this module, so it imports no code of Effect, only types.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Semaphore from "effect/Semaphore"
import type * as Tracer from "effect/Tracer"

const effectId = "~effect/Effect" satisfies typeof Effect.TypeId
const exitId = "~effect/Exit" satisfies keyof Exit.Exit<unknown>
// Not in the types of Effect.
const durationId = "~effect/Duration"

/** The marks of Effect's values. */
interface Marked {
  readonly [effectId]?: unknown
  readonly [exitId]?: unknown
}

// Effect's own guards use `in`, which walks the prototypes each time and takes longer than all the rest of a task that has
// its result at once. Reading a property uses the inline cache of the JavaScript engine.
export const isExit = (value: unknown): boolean => (value as Marked | undefined | null)?.[exitId] === exitId
export const isEffect = (value: unknown): boolean => (value as Marked | undefined | null)?.[effectId] !== undefined

export const isDuration = (value: object): value is Duration.Duration => durationId in value

/** Whether the fiber is in an uninterruptible region. */
export const isUninterruptible = (fiber: Fiber.Fiber<any, any>): boolean =>
  (fiber as { readonly interruptible?: boolean }).interruptible === false

/** How many permits a semaphore of Effect has in all; `Infinity` for another implementation, of which nothing is known. */
export const permitsOf = (semaphore: Semaphore.Semaphore): number => {
  const { permits } = semaphore as { readonly permits?: unknown }
  return typeof permits === "number" ? permits : Infinity
}

/** Whether a fiber has taken more than half of the steps after which its scheduler makes it yield. */
export const mayYieldSoon = (fiber: Fiber.Fiber<any, any>): boolean =>
  fiber.currentOpCount > fiber.cache.maxOpsBeforeYield / 2

/** The tracer in the context of a fiber; `undefined` where nothing has replaced Effect's own. */
export const tracerOf = (fiber: Fiber.Fiber<any, any>): Tracer.Tracer | undefined => fiber.cache.tracer
