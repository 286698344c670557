/**
 * The rows of the guide, and how they are run.
 *
 * Each test file of this folder is a section of `docs/moving-over.md`. It calls these functions at its top level:
 *
 * - `call`: their call beside ours. Both are run and must give the same result. The guide shows it as a table row, or as
 *   a code block if it takes several lines.
 * - `differs`: a difference in behaviour, in words. The words for each side are the name of a test.
 *
 * `guide.ts` extracts the guide from the source text of these calls, so the guide shows only what is run.
 */
import { Effect, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { pass, value } from "./time.ts"

/**
 * Two functions with the same result. `theirs` is a string if it cannot be run. In a function with several statements, the
 * final `return` is for the test only and is not shown.
 */
export interface Sides<A, B> {
  readonly theirs: (() => A) | string
  readonly ours: () => B
}

/** What both sides return, or what they reject with. */
export interface Expected<A, B> {
  readonly gives?: unknown
  readonly rejects?: unknown
  /** Other tasks that run meanwhile, started 5 ms before. */
  readonly during?: { readonly theirs: () => Promise<unknown>; readonly ours: () => Promise<unknown> }
  /** Converts the result of one side before the comparison. */
  readonly theirs?: (result: Came<A>) => unknown
  readonly ours?: (result: Came<B>) => unknown
  /** Converts the rejection before the comparison. */
  readonly reason?: (reason: never) => unknown
}

/** The value of a result once it has been awaited or collected: of a promise, an async iterable, an Effect or a Stream. */
type Came<A> =
  A extends Effect.Effect<infer Value, infer _E, infer _R>
    ? Value
    : A extends AsyncIterable<infer Each> | Stream.Stream<infer Each, infer _E, infer _R>
      ? Array<Each>
      : Awaited<A>

/** What one side does, in words, and the test of that claim. */
type Claim = readonly [words: string, test: () => void | Promise<void>]

/** How the two sides differ. `theirs` is a string if it cannot be run. */
export interface Claims {
  readonly theirs: Claim | string
  readonly ours: Claim
}

export const call = <A, B>(need: string, sides: Sides<A, B>, expected: Expected<A, B>): void => {
  describe(`to ${need}`, () => {
    it.each(runnable<() => unknown>(sides))("%s", async (side, run) => {
      const meanwhile = expected.during?.[side]()
      if (meanwhile !== undefined) await pass(5)
      const came = await value(settled(run))
      await value(Promise.resolve(meanwhile))
      // A mismatch between result and rejection shows both as they are.
      if ("gives" in came && "gives" in expected) {
        const look = expected[side] as Look | undefined
        expect(await value(looked(look, came.gives))).toEqual(expected.gives)
      } else if ("rejects" in came && "rejects" in expected) {
        expect(await looked(expected.reason as Look | undefined, came.rejects)).toEqual(expected.rejects)
      } else {
        expect(came).toEqual("gives" in expected ? { gives: expected.gives } : { rejects: expected.rejects })
      }
    })
  })
}

export const differs = (about: string, claims: Claims): void => {
  describe(`difference: ${about}`, () => {
    it.each(runnable(claims).map(([side, [words, test]]) => [`${side}: ${words}`, test] as const))("%s", (_, test) =>
      test()
    )
  })
}

/** The sides that can be run. */
const runnable = <T>(sides: { readonly theirs: T | string; readonly ours: T }): Array<["theirs" | "ours", T]> => [
  ...(typeof sides.theirs === "string" ? [] : ([["theirs", sides.theirs]] satisfies [["theirs", T]])),
  ["ours", sides.ours]
]

type Look = (result: unknown) => unknown

const looked = async (look: Look = (result) => result, result: unknown): Promise<unknown> => look(result)

const settled = async (run: () => unknown): Promise<{ readonly gives: unknown } | { readonly rejects: unknown }> => {
  try {
    return { gives: await everything(run()) }
  } catch (reason) {
    return { rejects: reason }
  }
}

const everything = (result: unknown): unknown => {
  if (Stream.isStream(result)) return everything(Stream.runCollect(result))
  if (Effect.isEffect(result)) return Effect.runPromise(result as Effect.Effect<unknown, unknown>)
  return isAsyncIterable(result) ? Array.fromAsync(result) : result
}

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === "object" && value !== null && Symbol.asyncIterator in value
