/**
 * The limiters of a family of meters, one for each key that was used recently.
 *
 * There is no timer. Each use drops limiters that a new one would equal, beginning with the least recently used. Each limiter
 * is dropped once, so this takes constant amortised time, and bounded time at each use.
 *
 * The order of use is a linked list and not that of the `Map`: JavaScript engines leave a gap in a `Map` for each removed
 * entry, and skip all gaps to find the first entry. With 100,000 keys in use that took 100 µs at each use.
 */
import { whenIdle } from "../admission/idleness.ts"
import type { SharedLimiter } from "../limits/sharedLimiter.ts"
import type { WaitLimits } from "../admission/overload.ts"
import type { Limits } from "../input/limits.ts"
import type { Host } from "../runtime/host.ts"

/** The least limiters that are checked at each use: idle ones are dropped faster than new ones can be added. */
const minChecks = 2

/** The most limiters that are checked at each use, which takes about a tenth of a millisecond. */
const maxChecks = 512

/** A key in use. The list is a ring that begins and ends with the family's own link. */
class Link<K, G> {
  readonly key: K
  readonly limiter: G
  previous: Link<K, G>
  next: Link<K, G>

  constructor(key: K, limiter: G) {
    this.key = key
    this.limiter = limiter
    this.previous = this
    this.next = this
  }

  addBefore(link: Link<K, G>): void {
    this.previous = link.previous
    this.next = link
    link.previous.next = this
    link.previous = this
  }

  remove(): void {
    this.previous.next = this.next
    this.next.previous = this.previous
  }
}

export class KeyedLimiters<K, G extends SharedLimiter = SharedLimiter> {
  private readonly make: (key: K) => G
  private readonly links = new Map<K, Link<K, G>>()
  /** Begins and ends the list, which is in the order of the last use, or of the last check of one that had to stay. */
  private readonly ends = new Link<K, G>(undefined!, undefined!)
  /** Once the family has ended, the limiter of all keys that have none. */
  private last: G | undefined

  constructor(make: (key: K) => G) {
    this.make = make
  }

  /** How many keys there are whose limiters differ from new ones. */
  get size(): number {
    return this.entries.length
  }

  /** The keys whose limiters differ from new ones, in the order in which these were made. */
  get entries(): ReadonlyArray<readonly [key: K, limiter: G]> {
    return Array.from(this.links.values(), ({ key, limiter }) => [key, limiter] as const).filter(
      ([, limiter]) => !limiter.isAsNew()
    )
  }

  private get limiters(): ReadonlyArray<G> {
    return Array.from(this.links.values(), ({ limiter }) => limiter)
  }

  of(key: K): G {
    let link = this.links.get(key)
    if (link === undefined) {
      if (this.last !== undefined) return this.last
      link = new Link(key, this.make(key))
      this.links.set(key, link)
    } else {
      link.remove()
    }
    this.dropIdle()
    // Added only now, so that it is neither dropped nor checked.
    link.addBefore(this.ends)
    return link.limiter
  }

  /** Drops the limiter of a key, whatever its state. Returns it if it differs from a new one. */
  delete(key: K): G | undefined {
    const link = this.links.get(key)
    if (link === undefined) return undefined
    const isKept = !link.limiter.isAsNew()
    this.drop(link)
    return isKept ? link.limiter : undefined
  }

  /** Changes the limiters that there are. The caller changes those that will be made. */
  resize(limits: Limits & WaitLimits, host: Host): void {
    for (const limiter of this.limiters) limiter.resize(limits, host, true)
  }

  /** Makes no more limiters. Returns all that there are, with the one for all other keys. They have to be closed. */
  end(): ReadonlyArray<G> {
    this.last ??= this.make(undefined!)
    for (const link of Array.from(this.links.values())) if (link.limiter.isAsNew()) this.drop(link)
    return [...this.limiters, this.last]
  }

  /** Calls `f` as soon as all are idle at the same time, possibly at once. Returns what cancels that. */
  whenIdle(f: () => void): () => void {
    let { limiters } = this
    let position = 0
    let cancel: (() => void) | undefined
    const look = (): void => {
      while (limiters[position]?.isIdle === true) position++
      const busy = limiters[position]
      if (busy !== undefined) {
        cancel = whenIdle(busy, look)
        return
      }
      // Each has been idle, but not necessarily at the same time.
      limiters = this.limiters
      position = 0
      if (limiters.every(({ isIdle }) => isIdle)) f()
      else look()
    }
    look()
    return () => cancel?.()
  }

  /** After `minLooks` it stops at the first that has to stay: most of those behind it were used later. */
  private dropIdle(): void {
    for (let looks = 0; looks < maxChecks; looks++) {
      const oldest = this.ends.next
      if (oldest === this.ends) return
      if (oldest.limiter.isAsNew()) {
        this.drop(oldest)
      } else if (looks < minChecks) {
        oldest.remove()
        oldest.addBefore(this.ends)
      } else {
        return
      }
    }
  }

  private drop(link: Link<K, G>): void {
    link.remove()
    this.links.delete(link.key)
    link.limiter.dropped()
  }
}
