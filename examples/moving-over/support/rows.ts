/**
 * The rows of the guide, and how they are run.
 *
 * A test file of this folder is a section of `docs/moving-over.md`. It calls these functions at its top level:
 *
 * - `call`: their call beside ours. Both are run, and have to come to the same. It is a row of a table, or a piece of
 *   code where it takes several lines.
 * - `differs`: how the two behave differently, in words. Each side's words are the name of a test.
 *
 * `guide.ts` takes what it shows from the very text of these calls, so it cannot show what is not run.
 */
import { Effect, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { pass, value } from "./time.ts"

/**
 * Two functions that come to the same. `theirs` is a text where it cannot be run. Where there are several statements, the
 * last, a `return`, is for the test alone.
 */
export interface Sides<A, B> {
  readonly theirs: (() => A) | string
  readonly ours: () => B
}

/** What both sides give, or what they reject with. */
export interface Expected<A, B> {
  readonly gives?: unknown
  readonly rejects?: unknown
  /** What goes on meanwhile, begun a little before. */
  readonly during?: { readonly theirs: () => Promise<unknown>; readonly ours: () => Promise<unknown> }
  /** How to look at what one side gives, where it has to be looked at. */
  readonly theirs?: (result: Came<A>) => unknown
  readonly ours?: (result: Came<B>) => unknown
  /** How to look at what both reject with. */
  readonly reason?: (reason: never) => unknown
}

/** What is left of a result when all of it has been waited for: a promise, an async iterable, an Effect, a Stream. */
type Came<A> =
  A extends Effect.Effect<infer Value, infer _E, infer _R>
    ? Value
    : A extends AsyncIterable<infer Each> | Stream.Stream<infer Each, infer _E, infer _R>
      ? Array<Each>
      : Awaited<A>

/** What one side does, in words, and the test that it does so. */
type Claim = readonly [words: string, test: () => void | Promise<void>]

/** Where the two differ. `theirs` is words alone where it cannot be run. */
export interface Claims {
  readonly theirs: Claim | string
  readonly ours: Claim
}

export const call = <A, B>(need: string, sides: Sides<A, B>, expected: Expected<A, B>): void => {
  describe(`for ${need}`, () => {
    it.each(runnable<() => unknown>(sides))("%s", async (side, run) => {
      const meanwhile = expected.during?.[side]()
      if (meanwhile !== undefined) await pass(5)
      const came = await value(settled(run))
      await value(Promise.resolve(meanwhile))
      // What has come to the other than it should is shown as it is.
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

/** Those of two sides that are more than words. */
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
