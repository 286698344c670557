/** Programs of core with a store in memory. */
import { Effect } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import { MeterStore } from "fibermeter"
import type { StoreEvent, StoreOptions } from "../../src/index.ts"
import { troubledStore, type Trouble } from "./trouble.ts"

export const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** Lets time pass, in steps, since answers of the store are read in later steps of the event loop. */
export const pass = (millis: number) =>
  Effect.forEach(Array(millis), () =>
    Effect.andThen(
      TestClock.adjust(1),
      Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    )
  )

/** Runs a program with a store of its own, by the test clock. */
export const run = <A, E>(
  options: StoreOptions,
  program: (trouble: Trouble, events: Array<StoreEvent>) => Effect.Effect<A, E, MeterStore | Scope.Scope>
): Promise<A> => {
  const events: Array<StoreEvent> = []
  const [store, trouble] = troubledStore({ onEvent: (event) => events.push(event), ...options })
  return Effect.runPromise(
    program(trouble, events).pipe(
      Effect.provideService(MeterStore, store),
      Effect.scoped,
      Effect.provide(TestClock.layer())
    )
  )
}
