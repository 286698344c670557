/**
 * A `WorkQueue` is a source of items that tasks can add to while they run: the pages of a site, the folders of a tree.
 *
 * A verb over it ends when the queue is empty and none of its tasks is left that could add more. Several calls can share one
 * queue: each item goes to one of them.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Pipeable from "effect/Pipeable"
import { accept, attempt } from "./internal/input/accept.ts"
import * as check from "./internal/input/validate.ts"
import { dualOfTwo, pipeable } from "./internal/runtime/pipeable.ts"
import type { WithSource } from "./internal/source/source.ts"
import { queueEnded, WorkItems } from "./internal/source/workItems.ts"

const TypeId = "~fibermeter/WorkQueue"

/**
 * A source of items that grows. It can be passed to every verb in place of the items.
 *
 * **Details**
 *
 * Items are taken in the order in which they were added. An item is in work from when a call takes it until its task has
 * ended. When the queue is empty and no item is in work, it has ended, and so do the calls that read it; from then on,
 * `add` fails with `WorkQueueEnded`.
 *
 * A call that ends early, by a failure, an interruption or a winner of `runAny`, does not end the queue: items that it has
 * not started are left for another call.
 *
 * **Gotchas**
 *
 * Only a task can rely on the queue not having ended. The reader of an `amap` stream cannot, because a task that has been
 * read has ended. A task must not wait for a call that reads the queue of the task: each of the two would wait for the
 * other.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkQueue<in out A> extends Enqueue<A>, Dequeue<A> {
  readonly [TypeId]: {
    readonly _In: (_: A) => void
    readonly _Out: (_: never) => A
  }
}

/**
 * A `WorkQueue` to which items can be added.
 *
 * @category models
 * @since 0.1.0
 */
export interface Enqueue<in A> extends Pipeable.Pipeable {
  readonly [TypeId]: { readonly _In: (_: A) => void }
}

/**
 * A `WorkQueue` as verbs read it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Dequeue<out A> extends Pipeable.Pipeable {
  readonly [TypeId]: { readonly _Out: (_: never) => A }
}

/**
 * The options of a work queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<in A> {
  /**
   * The identity of an item, compared as the keys of a `Map` are: of items with the same key, only the first is added. The
   * queue keeps the keys of all items that it has ever had. Default: nothing is a duplicate.
   */
  readonly key?: ((item: A) => unknown) | undefined
}

/**
 * Nothing can be added: the queue was empty, and no task was left that could have added to it.
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkQueueEnded extends Data.TaggedError("WorkQueueEnded") {
  override readonly message = queueEnded
}

const checks: check.Checks = { key: check.anyFunction }

interface Internals<A> extends WithSource<A> {
  readonly items: WorkItems<A>
}

const Proto = {
  ...pipeable,
  [TypeId]: {},
  "~fibermeter/source"(this: Internals<unknown>) {
    return this.items.source()
  }
}

/**
 * Whether a value is a `WorkQueue`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isWorkQueue = (u: unknown): u is WorkQueue<unknown> => check.hasProperty(u, TypeId)

const itemsOf = <A>(queue: Enqueue<A>): WorkItems<A> =>
  accept<Internals<A>>(check.kind("a WorkQueue", isWorkQueue)("the queue", queue) as never).items

/**
 * Makes a work queue. Dies with a `Cause.IllegalArgumentError` if an option is invalid. The seeds are read at once.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { runOnEach, WorkQueue } from "fibermeter"
 *
 * const links: Record<string, Array<string>> = { "/": ["/a", "/b"], "/a": ["/b"], "/b": ["/"] }
 *
 * const crawl = Effect.gen(function* () {
 *   const seen: Array<string> = []
 *   const pages = yield* WorkQueue.make(["/"], { key: (path) => path })
 *   const visit = (path: string) => {
 *     seen.push(path)
 *     return WorkQueue.addAll(pages, links[path]!)
 *   }
 *   yield* runOnEach(pages, visit, { maxAtOnce: 10 })
 *   return seen
 * })
 *
 * await Effect.runPromise(crawl) // => ["/", "/a", "/b"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(seeds: Iterable<A> = [], options?: Options<A>): Effect.Effect<WorkQueue<A>> =>
  Effect.suspend(() => attempt(() => makeUnsafe(seeds, options)))

/**
 * Makes a work queue outside of Effect. Throws a `Cause.IllegalArgumentError` if an option is invalid.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { runAll, WorkQueue } from "fibermeter"
 *
 * const numbers = WorkQueue.makeUnsafe([3])
 * const countDown = (n: number) => (n === 0 ? Effect.succeed(n) : Effect.as(WorkQueue.add(numbers, n - 1), n))
 *
 * await Effect.runPromise(runAll(numbers, countDown)) // => [3, 2, 1, 0]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeUnsafe = <A>(seeds: Iterable<A> = [], options?: Options<A>): WorkQueue<A> => {
  const { key } = accept(check.options(checks, options)) as Options<A>
  if (!check.isIterable(seeds)) accept(check.notSeeds(seeds))
  const items = new WorkItems<A>(
    key === undefined
      ? undefined
      : (item) => {
          const read = key(item)
          const problem = check.notSync("key", read)
          return problem === undefined ? read : accept(problem)
        }
  )
  items.add(Array.from(seeds))
  return Object.assign(Object.create(Proto), { items })
}

const offer = <A>(queue: Enqueue<A>, added: () => ReadonlyArray<A>): Effect.Effect<void, WorkQueueEnded> =>
  Effect.suspend(() => {
    const items = itemsOf(queue)
    const list = added()
    if (items.hasEnded && list.length > 0) return Effect.fail(new WorkQueueEnded())
    items.add(list)
    return Effect.void
  })

/**
 * Adds an item. Fails with `WorkQueueEnded` if the queue has ended, which cannot happen in one of its tasks.
 *
 * **Details**
 *
 * With the option `key`, an item whose key there has been already is not added. If `key` throws, that is the defect.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { runAll, WorkQueue } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const queue = yield* WorkQueue.make([1])
 *   yield* WorkQueue.add(queue, 2)
 *   yield* queue.pipe(WorkQueue.add(3))
 *   yield* runAll(queue, Effect.succeed)
 *   return yield* Effect.flip(WorkQueue.add(queue, 4))
 * })
 *
 * const error = await Effect.runPromise(program)
 * error._tag // => "WorkQueueEnded"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const add: {
  /**
   * Adds an item to the piped queue. Fails with `WorkQueueEnded` if the queue has ended.
   *
   * @category combinators
   * @since 0.1.0
   */
  <A>(item: A): (queue: Enqueue<A>) => Effect.Effect<void, WorkQueueEnded>
  /**
   * Adds an item. Fails with `WorkQueueEnded` if the queue has ended.
   *
   * @category combinators
   * @since 0.1.0
   */
  <A>(queue: Enqueue<A>, item: NoInfer<A>): Effect.Effect<void, WorkQueueEnded>
} = /* @__PURE__ */ dualOfTwo(<A>(queue: Enqueue<A>, item: A) => offer(queue, () => [item]))

/**
 * Adds all items of an iterable, in one step. Fails with `WorkQueueEnded` if the queue has ended and there are any.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { WorkQueue } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const queue = yield* WorkQueue.make(["a"], { key: (name) => name })
 *   yield* WorkQueue.addAll(queue, ["a", "b", "c"])
 *   return yield* WorkQueue.size(queue)
 * })
 *
 * await Effect.runPromise(program) // => 3
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const addAll: {
  /**
   * Adds all items of an iterable to the piped queue. Fails with `WorkQueueEnded` if the queue has ended and there are any.
   *
   * @category combinators
   * @since 0.1.0
   */
  <A>(items: Iterable<A>): (queue: Enqueue<A>) => Effect.Effect<void, WorkQueueEnded>
  /**
   * Adds all items of an iterable. Fails with `WorkQueueEnded` if the queue has ended and there are any.
   *
   * @category combinators
   * @since 0.1.0
   */
  <A>(queue: Enqueue<A>, items: Iterable<NoInfer<A>>): Effect.Effect<void, WorkQueueEnded>
} = /* @__PURE__ */ dualOfTwo(<A>(queue: Enqueue<A>, items: Iterable<A>) => offer(queue, () => Array.from(items)))

/**
 * How many items wait in the queue: those that no call has taken.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { WorkQueue } from "fibermeter"
 *
 * await Effect.runPromise(WorkQueue.size(WorkQueue.makeUnsafe(["a", "b"]))) // => 2
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const size = <A>(queue: Dequeue<A>): Effect.Effect<number> =>
  Effect.sync(() => itemsOf(queue as WorkQueue<A>).size)
