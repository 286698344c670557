/**
 * The limiters of a family of meters, one for each key that was used recently.
 *
 * There is no timer. Each use drops limiters that a new one would equal, beginning with the least recently used. Each limiter
 * is dropped once, so this takes constant amortised time, and bounded time at each use.
 *
 * The order of use is a linked list and not that of the `Map`: JavaScript engines leave a gap in a `Map` for each removed
 * entry, and skip all gaps to find the first entry. With 100,000 keys in use that took 100 µs at each use.
 */
import type { SharedLimiter } from "../limits/sharedLimiter.ts"

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

  constructor(make: (key: K) => G) {
    this.make = make
  }

  /** How many keys there are whose limiters differ from new ones. */
  get size(): number {
    let size = 0
    for (const { limiter } of this.links.values()) if (!limiter.isAsNew()) size++
    return size
  }

  of(key: K): G {
    let link = this.links.get(key)
    if (link === undefined) {
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
  }
}
