/**
 * Everything that relies on what Effect does not document: fields that are in no interface, marks by which its values are
 * told, and what its step counter means. `effectInternals.test.ts` fails as soon as a version of Effect changes one of them.
 *
 * The facade uses part of this, so there is no code of Effect's here, only types.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Semaphore from "effect/Semaphore"

const effectId = "~effect/Effect" satisfies typeof Effect.TypeId
const exitId = "~effect/Exit" satisfies keyof Exit.Exit<unknown>
// Not in the types of Effect.
const durationId = "~effect/Duration"

/** What a value of Effect's making has. */
interface Marked {
  readonly [effectId]?: unknown
  readonly [exitId]?: unknown
}

// Effect's own tests ask by `in`, along the prototypes each time, which takes longer than all the rest of a task that has
// its result at once. A property that is read comes from the engine's cache.
export const isExit = (value: unknown): boolean => (value as Marked | undefined | null)?.[exitId] === exitId
export const isEffect = (value: unknown): boolean => (value as Marked | undefined | null)?.[effectId] !== undefined

export const isDuration = (value: object): value is Duration.Duration => durationId in value

/** Whether the fiber is in an uninterruptible region. */
export const isUninterruptible = (fiber: Fiber.Fiber<any, any>): boolean =>
  (fiber as { readonly interruptible?: boolean }).interruptible === false

/** How many permits a semaphore of Effect's has in all. Of another implementation nothing is known. */
export const permitsOf = (semaphore: Semaphore.Semaphore): number => {
  const { permits } = semaphore as { readonly permits?: unknown }
  return typeof permits === "number" ? permits : Infinity
}

/** Whether a fiber has taken more than half of the steps after which its scheduler makes it yield. */
export const mayYieldSoon = (fiber: Fiber.Fiber<any, any>): boolean =>
  fiber.currentOpCount > fiber.cache.maxOpsBeforeYield / 2
