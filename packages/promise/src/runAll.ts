import { calls } from "fibermeter/engine"
import { ofItems, ofTasks, recordOf } from "./internal/arguments.ts"
import { execute } from "./internal/execute.ts"
import { settlingOrTolerating } from "./internal/outcomes.ts"
import type { RunAllOptions, Settled, Unsettled } from "./Options.ts"
import type { AnyFunction, Meant } from "./internal/wrongCall.ts"
import type { Outcome } from "./Outcome.ts"
import type { Items, ItemTask, MemberOf, ResultOf, Task } from "./Task.ts"

type Tasks = Items<Task<unknown>> | Readonly<Record<string, Task<unknown>>>

/** The results: a tuple for a tuple, a record for a record, otherwise an array. */
type Results<T> =
  T extends ReadonlyArray<Task<unknown>>
    ? { -readonly [K in keyof T]: ResultOf<T[K]> }
    : T extends Items<infer Each>
      ? Array<ResultOf<Each>>
      : { -readonly [K in keyof T]: ResultOf<T[K]> }

/** The outcomes: a tuple for a tuple, a record for a record, otherwise an array. */
type Outcomes<T> =
  T extends ReadonlyArray<Task<unknown>>
    ? { -readonly [K in keyof T]: Outcome<ResultOf<T[K]>, T[K]> }
    : T extends Items<infer Each>
      ? Array<Outcome<ResultOf<Each>, Each>>
      : { -readonly [K in keyof T]: Outcome<ResultOf<T[K]>, T[K]> }

/**
 * Runs a task for each item, or a list of tasks, and resolves with their results in input order.
 *
 * A tuple of tasks gives a tuple, a record gives a record, and any other iterable an array. Tasks start in input order.
 * The first task to throw or reject stops new starts and cancels the others; the promise rejects with the very value that
 * it threw. Rejects with a `RangeError` or `TypeError` if an option is
 * invalid.
 *
 * @example
 * ```ts
 * import { runAll } from "@fibermeter/promise"
 *
 * const greeting = async (name: string) => `Hello, ${name}!`
 *
 * await runAll(["Robert", "Carmen"], greeting, { maxAtOnce: 2 }) // => ["Hello, Robert!", "Hello, Carmen!"]
 *
 * await runAll({ one: () => greeting("Robert"), two: () => 2 }) // => { one: "Hello, Robert!", two: 2 }
 * ```
 *
 * @since 0.1.0
 */
export const runAll: {
  /**
   * Runs a list of tasks and resolves with the outcome of each, in input order.
   *
   * Without options nothing limits how many run at once.
   * A failure stops nothing. Rejects with a `RangeError` or `TypeError` if an option is
   * invalid.
   *
   * @example
   * ```ts
   * import { runAll } from "@fibermeter/promise"
   *
   * const [one] = await runAll([() => 1], { settled: true })
   *
   * one.status // => "fulfilled"
   * ```
   *
   * @since 0.1.0
   */
  <const T extends Tasks>(tasks: T, options: Settled<RunAllOptions<MemberOf<T>>>): Promise<Outcomes<T>>
  /**
   * Runs a list of tasks and resolves with their results in input order: a tuple for a tuple, a record for a record,
   * otherwise an array.
   *
   * Without options nothing limits how many run at once.
   * The first failure cancels the other tasks and rejects the promise. Rejects with a `RangeError` or `TypeError` if an option is
   * invalid.
   *
   * @example
   * ```ts
   * import { runAll } from "@fibermeter/promise"
   *
   * await runAll({ one: () => 1, two: async () => "two" }, { maxAtOnce: 2 }) // => { one: 1, two: "two" }
   * ```
   *
   * @since 0.1.0
   */
  <const T extends Tasks>(tasks: T, options?: Unsettled<RunAllOptions<MemberOf<T>>>): Promise<Results<T>>
  /** Runs a list of tasks. Whether it resolves with their results or their outcomes depends on the value of `settled`. */
  <const T extends Tasks>(tasks: T, options: RunAllOptions<MemberOf<T>>): Promise<Results<T> | Outcomes<T>>
  /**
   * Runs a task for each item and resolves with the outcome of each, in input order.
   *
   * Without options nothing limits how many run at once.
   * A failure stops nothing. Rejects with a `RangeError` or `TypeError` if an option is
   * invalid.
   *
   * @example
   * ```ts
   * import { runAll } from "@fibermeter/promise"
   *
   * const [first] = await runAll([1, 2], async (n) => n * 2, { settled: true })
   *
   * first!.status // => "fulfilled"
   * ```
   *
   * @since 0.1.0
   */
  <A, B>(items: Items<A>, task: ItemTask<A, B>, options: Settled<RunAllOptions<A>>): Promise<Array<Outcome<B, A>>>
  /**
   * Runs a task for each item and resolves with the results in input order.
   *
   * Without options nothing limits how many run at once.
   * The first failure cancels the other tasks and rejects the promise. Rejects with a `RangeError` or `TypeError` if an option is
   * invalid.
   *
   * @example
   * ```ts
   * import { runAll } from "@fibermeter/promise"
   *
   * await runAll(["Robert", "Carmen"], async (name) => `Hello, ${name}!`, { maxAtOnce: 2 }) // => ["Hello, Robert!", "Hello, Carmen!"]
   * ```
   *
   * @since 0.1.0
   */
  <A, B>(items: Items<A>, task: ItemTask<A, B>, options?: Unsettled<RunAllOptions<A>>): Promise<Array<B>>
  /** Runs a task for each item. Whether it resolves with the results or the outcomes depends on the value of `settled`. */
  <A, B>(items: Items<A>, task: ItemTask<A, B>, options: RunAllOptions<A>): Promise<Array<B> | Array<Outcome<B, A>>>
  /** By this form, the compiler reports wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, const T, Q = AnyFunction>(
    items: T & (Q extends AnyFunction ? Items<A> : Tasks),
    task: (Q extends AnyFunction ? ItemTask<NoInfer<A>, B> : RunAllOptions) & Meant<Q>
  ): Promise<Q extends AnyFunction ? Array<B> : Results<T>>
} = async (input: unknown, second?: unknown, third?: unknown): Promise<any> => {
  if (typeof second === "function") return collect(() => ofItems(input, second, third))
  const record = recordOf(input)
  if (record === undefined) return collect(() => ofTasks(input, second))
  const tasks = record.map(([, task]) => task)
  const results = await collect(() => ofTasks(tasks, second))
  return Object.fromEntries(record.map(([name], i) => [name, results[i]]))
}

const collect = (call: Parameters<typeof execute>[0]): Promise<Array<unknown>> =>
  execute(call, ({ items, options }) => {
    const all = new calls.All<unknown>(items)
    return { collector: settlingOrTolerating(options, all), result: () => all.results }
  })
