/**
 * The queue of the waiters that need the same set of several gates; the admission rule for sets of gates. Waiters that
 * need one gate alone are in that gate's own queue (`gate.ts`), and nothing here concerns them.
 *
 * **The rule: room is kept only on the way.**
 *
 * 1. A waiter has a rank, the number of its arrival. Every comparison is by rank, whichever gate a waiter comes from.
 * 2. Waiters of the same set are served in the order of their ranks, so only the first of a set is ever looked at. It
 *    stands at one gate of the set, one that is closed to it, among the waiters of that gate by rank. On arrival it
 *    keeps nothing at the other gates: later waiters may pass there.
 * 3. When that gate opens to it as the first in rank, all other gates are asked. A gate is closed to a waiter also where
 *    an earlier one stands. If all are open, it takes from all of them in the same step and starts.
 * 4. Otherwise it moves to the first gate that is closed. If it is first there, room is kept for it at the gates that are
 *    open, for F / 2 and at least a millisecond. F is how long it has been first at gates that were closed by their own
 *    limits; pauses, and time behind room that is kept for others, do not count.
 * 5. Kept room binds only waiters of a later rank. It is what a start of that waiter would take: a permit, a slot of the
 *    rate, its amounts of the windows. It ends with its time, and when the waiter starts, leaves, or moves again.
 * 6. Semaphores keep no room: their permits belong to the rest of the program as well.
 *
 * **Invariants.** The first of a set stands at exactly one gate, in `gate.sets`. A gate at which waiters stand is closed
 * to the first of them, or about to be looked at. Every event that can open a gate has the first there looked at: an
 * end, a change of limits, a timer, the end of kept room. So a waiter whose gates all have room starts, unless room is
 * kept for an earlier one. Nothing is taken before everything is taken.
 *
 * **No hang.** Kept room ends by time, and is kept anew only after the gate where the waiter stands has opened. If a task
 * holds `older` and cannot end before `younger` admits it, `older` does not open, so nothing more is kept at `younger`.
 * Kept room binds later ranks only, so the earliest waiter is never bound, and no circle can close.
 *
 * **The bound.** Let H be the longest time that one of the n gates of a set stays closed to a waiter that is first there.
 * Take the earliest waiter. A round fails only if the gate where it stands takes longer to open than room is kept, that
 * is longer than F / 2; so rounds fail only while F < 2 H. After that, each opening falls into the time for which the
 * rest is kept, and one round adds at least one gate: n rounds of at most H. That is (2 + n) H, after those who came
 * earlier to the first gate have had their turn. By induction over ranks this holds for all. With two semaphores in one
 * set there is no bound, as neither is kept, but there is no hang either: both are asked whenever one gives a permit.
 *
 * **Cost.** A waiter is added, removed and admitted in constant time, plus the logarithm of the number of *sets* whose
 * first stands at that gate; moving is a matter of a set, not of each waiter in it, so a hundred thousand waiters for the
 * same two gates move as one. An opening is offered to one set after the other until one takes it, so where each waiter
 * has a set of its own, an opening that none can use is offered to all of them.
 *
 * Rejected: keeping the first place at every gate that was open (a task that holds one gate and calls for the other
 * hangs, and waiters for one gate wait for another); letting later waiters always pass (two floods starve a waiter that
 * needs both); keeping room until it is used (hangs), or after a number of overtakes (most of the room is lost).
 *
 * Priorities and lanes fit as another static rank. Weighted permits fit as an amount that kept room takes. A limit whose
 * grants arrive from elsewhere is a gate that opens by an event.
 */
import type { Gate, Waiter } from "./gate.ts"
import type { Ranked } from "./heap.ts"
import type { Host } from "./host.ts"
import { Line } from "./line.ts"

/** The least time for which room is kept, in nanoseconds. */
const leastKeep = 1_000_000

/** Instead of a new array each time. */
const none: ReadonlyArray<never> = []

export class SetQueue implements Ranked {
  readonly gates: ReadonlyArray<Gate>
  index = 0
  /** F of the rule, for the first waiter, in nanoseconds. */
  closedFor = 0
  private readonly key: string
  private readonly line = new Line<Waiter>()
  /** The gate where the first stands. */
  private at: Gate
  /** The gates that keep room for the first. */
  private keeping: ReadonlyArray<Gate> = none

  private constructor(gates: ReadonlyArray<Gate>, key: string) {
    this.gates = gates
    this.key = key
    this.at = gates[0]!
  }

  /** The queue of a set, which each of its gates knows as long as there are waiters in it. */
  static of(gates: ReadonlyArray<Gate>): SetQueue {
    const key = gates.map(({ age }) => age).join()
    return gates[0]!.setsNeeding.get(key) ?? new SetQueue(gates, key)
  }

  /** There has to be one. */
  get first(): Waiter {
    return this.line.first!
  }

  get rank(): number {
    return this.first.rank
  }

  get members(): ReadonlyArray<Waiter> {
    return this.line.members
  }

  /** Adds the last to arrive. `closed` is the first gate that is closed to it. */
  add(waiter: Waiter, closed: Gate): void {
    const { gates } = this
    this.line.add(waiter)
    for (let i = 0; i < gates.length; i++) {
      gates[i]!.waiting++
      gates[i]!.followTimers(waiter.host)
    }
    if (this.line.size > 1) return
    for (let i = 0; i < gates.length; i++) gates[i]!.setsNeeding.set(this.key, this)
    this.at = closed
    closed.sets.add(this)
    this.lookAgain()
  }

  /** Removes a waiter from anywhere. Returns whether `lookAgain` has to be called. */
  remove(waiter: Waiter): boolean {
    const { gates } = this
    for (let i = 0; i < gates.length; i++) gates[i]!.waiting--
    if (!this.line.remove(waiter)) return false
    this.stopKeeping()
    this.at.forget(this)
    this.closedFor = 0
    if (this.line.size > 0) {
      this.at.sets.sink(this)
    } else {
      this.at.sets.remove(this)
      for (let i = 0; i < gates.length; i++) gates[i]!.setsNeeding.delete(this.key)
    }
    return true
  }

  /** Whether the first stands at that gate. */
  isAt(gate: Gate): boolean {
    return this.at === gate
  }

  /** Sets the timer again that the first waiter depends on, if it is lost. */
  rearm(host: Host): void {
    this.at.rearm(host)
  }

  /** What stands at the gates of the set has changed. */
  lookAgain(): void {
    const { gates } = this
    for (let i = 0; i < gates.length; i++) gates[i]!.lookAgain()
  }

  /** The gate where the first stands is open to it: the first starts or moves. */
  opened(): void {
    const { at: here, first: waiter, gates } = this
    const open: Array<Gate> = []
    let closed: Gate | undefined
    for (let i = 0; i < gates.length; i++) {
      const gate = gates[i]!
      if (gate === here || gate.isOpenAmongOthers(waiter, closed !== undefined)) open.push(gate)
      else closed ??= gate
    }
    if (closed !== undefined) {
      this.move(closed, open)
    } else {
      this.remove(waiter)
      waiter.admit()
    }
    this.lookAgain()
  }

  private move(to: Gate, open: ReadonlyArray<Gate>): void {
    this.stopKeeping()
    this.at.clockFirst(undefined)
    this.at.sets.remove(this)
    this.at = to
    to.sets.add(this)
    if (!to.isFirst(this)) return
    this.keeping = open.filter((gate) => gate.canKeep)
    for (const gate of this.keeping) gate.keep(this, Math.max(leastKeep, Math.ceil(this.closedFor / 2)))
  }

  /** The gates that keep room for the first do so no longer. */
  stopKeeping(): void {
    const { keeping } = this
    if (keeping.length === 0) return
    for (let i = 0; i < keeping.length; i++) keeping[i]!.stopKeeping(this)
    this.keeping = none
  }
}
