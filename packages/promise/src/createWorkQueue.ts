import { calls, check } from "fibermeter/engine"
import { accept } from "./internal/errors.ts"

/**
 * A source of items that tasks can add to while they run. Pass it to a verb in place of the items.
 *
 * Items are taken in the order in which they were added. An item is in work from when a call takes it until its task has
 * ended, its retries included. When the queue is empty and no item is in work, it has ended, and so do the calls that read it.
 * Several calls can share one queue: each item goes to one of them.
 *
 * A call that ends early, by a failure, an abort, a `break` or a winner of `runAny`, does not end the queue: items that it has
 * not started are left for another call. A task that was cancelled, or has timed out, counts as ended even if it ignores its
 * signal.
 *
 * A task must not wait for a call that reads the queue of the task: each of the two would wait for the other.
 *
 * A queue can also be read by a plain `for await` loop: then an item is in work until the loop asks for the next one.
 *
 * @since 0.1.0
 */
export interface WorkQueue<in out A> extends AsyncIterable<A> {
  /**
   * Adds items. With the option `key`, items whose key there has been already are left out. Throws a `WorkQueueEndedError` if
   * the queue has ended, which cannot happen in a task of a call that reads it. What `key` throws is thrown, and nothing is
   * added.
   */
  readonly add: (...items: ReadonlyArray<A>) => void
  /** How many items wait: those that no call has taken. */
  readonly size: number
}

/**
 * The options of a work queue.
 *
 * @since 0.1.0
 */
export interface WorkQueueOptions<in A> {
  /**
   * The identity of an item, compared as the keys of a `Map` are: of items with the same key, only the first is added. The
   * queue keeps the keys of all items that it has ever had. Default: nothing is a duplicate.
   */
  readonly key?: ((item: A) => unknown) | undefined
}

/**
 * Nothing can be added: the queue was empty, and no task was left that could have added to it.
 *
 * @example
 * ```ts
 * import { createWorkQueue, runOnEach, WorkQueueEndedError } from "@fibermeter/promise"
 *
 * const queue = createWorkQueue([1])
 * await runOnEach(queue, async () => {})
 *
 * let error: unknown
 * try {
 *   queue.add(2)
 * } catch (thrown) {
 *   error = thrown
 * }
 * error instanceof WorkQueueEndedError // => true
 * ```
 *
 * @since 0.1.0
 */
export class WorkQueueEndedError extends Error {
  override readonly name = "WorkQueueEndedError"

  constructor() {
    super(calls.queueEnded)
  }
}

/**
 * Creates a work queue: a source of items that tasks add to, such as the pages of a site or the folders of a tree.
 *
 * A verb over it ends when the queue is empty and none of its tasks is left that could add more. The seeds are read at once.
 * Throws a `TypeError` if an option is invalid.
 *
 * @example
 * ```ts
 * import { createWorkQueue, runOnEach } from "@fibermeter/promise"
 *
 * const links: Record<string, Array<string>> = { "/": ["/a", "/b"], "/a": ["/b"], "/b": ["/"] }
 * const seen: Array<string> = []
 *
 * const pages = createWorkQueue(["/"], { key: (path) => path })
 * const visit = async (path: string) => {
 *   seen.push(path)
 *   pages.add(...links[path]!)
 * }
 * await runOnEach(pages, visit, { maxAtOnce: 10 })
 *
 * seen // => ["/", "/a", "/b"]
 * ```
 *
 * @since 0.1.0
 */
export const createWorkQueue = <A>(seeds: Iterable<A> = [], options?: WorkQueueOptions<A>): WorkQueue<A> => {
  const { key } = accept(check.options({ key: check.anyFunction }, options)) as WorkQueueOptions<A>
  if (!check.isIterable(seeds)) accept(check.notSeeds(seeds))
  const items = new calls.WorkItems<A>(
    key === undefined
      ? undefined
      : (item) => {
          const read = key(item)
          accept(check.notSync("key", read))
          return read
        }
  )
  items.add(Array.from(seeds))
  return new Queue(items)
}

class Queue<A> implements WorkQueue<A>, calls.WithSource<A> {
  private readonly items: calls.WorkItems<A>

  constructor(items: calls.WorkItems<A>) {
    this.items = items
  }

  readonly add = (...items: ReadonlyArray<A>): void => {
    if (this.items.hasEnded && items.length > 0) throw new WorkQueueEndedError()
    this.items.add(items)
  }

  get size(): number {
    return this.items.size
  }

  "~fibermeter/source"(): calls.Source<A, never> {
    return this.items.source()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<A, undefined> {
    const source = this.items.source()
    try {
      while (await isReady(source)) {
        yield source.item
        source.settled()
      }
    } finally {
      source.close(() => {})
    }
  }
}

/** Asks for the next item, and waits for it. Resolves with whether there is one. */
const isReady = (source: calls.Source<unknown, never>): Promise<boolean> =>
  new Promise((resolve) => {
    source.onReady = () => {
      const next = source.next()
      if (next !== calls.Next.pending) resolve(next === calls.Next.item)
    }
    source.onReady()
  })
