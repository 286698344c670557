/**
 * The queue in front of a limit. A meter is one gate or several; who stands in their lines, and how one passes several
 * of them, is in `ticket.ts`. What opens a gate, and when, is for its subclasses to say.
 */
import * as Duration from "effect/Duration"
import type * as Cause from "effect/Cause"
import type * as Fiber from "effect/Fiber"
import type { Cost, Holdable } from "./holding.ts"
import type { Host } from "./host.ts"
import { Line } from "./line.ts"
import type { Placed } from "./line.ts"
import { Timeline } from "./timeline.ts"
import { later, overdue, turnBegins } from "./turn.ts"

/** Somebody in the line. */
export interface Waiter extends Placed {
  readonly host: Host
  readonly cost: Cost | undefined
  readonly isWaiting: boolean
  /** The gate where it waits. */
  readonly waitsAt: Gate | undefined
  /** From where inside of a task it is called, as far as that is known. */
  readonly inside: Inside | undefined
  /** Why it will never pass all of its gates, if so. */
  objection(): Cause.Cause<any> | undefined
  /** It is the first, and the gate is open to it. It has been taken out of the line. */
  pass(): void
  /** It will never pass, for that reason. It takes itself out of the line. */
  refuse(reason: Cause.Cause<any>): void
}

/** A place inside of a task: `nesting.ts` says what that means. */
export interface Inside {
  nestingAt(gate: Gate, line: Line<Waiter>): Nesting
}

/** Those in a gate's line who run inside of tasks. */
export interface Nesting {
  /** One comes to the line. */
  add(waiter: Waiter): void
  remove(waiter: Waiter): void
  /** One is there to stay: the task that it runs inside of may have to wait for it. Refuses it if that is for ever. */
  holdUp(waiter: Waiter): void
  /** The first that runs inside of a task which holds a place of that gate. */
  first(held: Gate | undefined): Waiter | undefined
  /** Refuses one if none can ever pass. To be called when there are fewer places, or fewer tasks that hold one. */
  breakDeadlock(): void
}

let born = 0

/** The longest sleep asked of a clock, in nanoseconds; whoever has to wait longer looks again then. */
const maxSleep = 2 ** 50

export abstract class Gate implements Holdable {
  /** Gates are passed from the youngest to the oldest. */
  readonly age: number = born++
  /** How many tasks may have passed and not ended. */
  abstract readonly capacity: number
  /** Whether it has to hold something in order to be open. Such gates come last, so that they hold it for nobody. */
  readonly holds: boolean = false
  /** The names by which a task's cost is counted here. */
  abstract readonly names: Iterable<string>
  /** How many tasks have passed and not ended. */
  running = 0
  /** How many tasks have ever passed. */
  started = 0
  /** Calls that go on and may come again. */
  private calls = 0
  /** How many wait here, those that wait further on included. */
  waiting = 0

  /** Who may pass depends on it only where time matters to the gate, and while it is paused. */
  protected readonly time = new Timeline((delta) => {
    this.pausedUntil += delta
    this.shift(delta)
  })
  /** Set when the gate can open no more: whoever comes is refused with it. */
  protected broken: Cause.Cause<any> | undefined

  /** Those who wait here, in the order of their coming. */
  private readonly line = new Line<Waiter>()
  /**
   * Waiters that this gate was open to and that wait at an older one: the first in line and, after it, those that it had
   * to let pass. Who may pass the last of them is for `next` to say.
   */
  private readonly fronts: Array<Waiter> = []
  /** Made for the first that runs inside of a task. */
  private nesting: Nesting | undefined
  protected pausedUntil = -Infinity
  /** The one timer of this gate, armed only while the first in line waits for nothing but time. */
  private timer: Fiber.Fiber<void> | undefined
  private timerAt = NaN
  /** See `arm`. */
  private leastSleep = 0
  private isPostponed = false
  private isPumping = false
  /** Called when nothing is here any more. */
  private onIdle: Array<() => void> | undefined

  /** Whether `opensAt` goes by the time. */
  abstract readonly isTimed: boolean
  /**
   * When this gate will be open to the waiter, which is the first in line: at that time or, if that has come, now; or
   * at `Infinity`, after some event that calls `wake`. Called again before each decision, so it may note that somebody
   * waits.
   */
  protected abstract opensAt(waiter: Waiter): number
  /** Takes what a task needs; in the same step as `opensAt` said that the gate is open. Returns a note for `settle`. */
  protected abstract take(waiter: Waiter): unknown
  /** The task behind that note has been called by now. Where nothing is noted, that is nothing. */
  settle(_booking: unknown): void {}
  /** The task behind that note has cost something else than it was to. */
  abstract correct(booking: unknown, cost: Cost): void
  /** Gives back what a task held. */
  protected abstract giveBack(): void
  /** Nobody waits here any more. */
  protected abstract rest(): void
  /** The first in line waits for something other than this gate. */
  protected abstract hold(): void
  /** Noted times have moved by so much. */
  protected abstract shift(delta: number): void

  /** Why a task of that cost can never start here, if so. */
  objection(_cost: Cost | undefined): Cause.Cause<any> | undefined {
    return this.broken
  }

  /** Whether tasks are paid for by amounts. */
  get isWeighed(): boolean {
    return false
  }

  /** Whether anybody might pass now. Where not, some event has to call `wake`; until then there is nothing to look at. */
  protected mayOpen(): boolean {
    return true
  }

  /** A call begins that may come any number of times. */
  join(): void {
    this.calls++
  }

  /** Such a call has ended. */
  part(): void {
    this.calls--
    if (this.onIdle !== undefined) this.tellIdle()
  }

  /** Whether nobody runs, waits, or may come again without being called anew. */
  get isIdle(): boolean {
    return this.running === 0 && this.calls === 0 && this.isEmpty()
  }

  /** Calls `f` as soon as the gate is idle, which may be at once. Returns what calls it off. */
  whenIdle(f: () => void): () => void {
    this.onIdle ??= []
    this.onIdle.push(f)
    this.tellIdle()
    return () => (this.onIdle = this.onIdle?.filter((each) => each !== f))
  }

  private tellIdle(): void {
    if (!this.isIdle) return
    const told = this.onIdle!
    this.onIdle = undefined
    for (const f of told) f()
  }

  /** All who wait here, in the order of their coming. */
  get waiters(): ReadonlyArray<Waiter> {
    return [...this.fronts, ...this.line.members]
  }

  /** Somebody passes. */
  enter(waiter: Waiter): unknown {
    this.running++
    this.started++
    return this.take(waiter)
  }

  /** A task has ended. */
  leave(): void {
    this.running--
    this.giveBack()
    this.wake()
    // Where the limit has been lowered, an end need not make room for anybody.
    this.nesting?.breakDeadlock()
    if (this.onIdle !== undefined) this.tellIdle()
  }

  /** Lets nobody pass for so many nanoseconds from now, or until `resume`. Of several pauses, the last to end counts. */
  pause(host: Host, nanos: number): void {
    this.look(host)
    this.pausedUntil = Math.max(this.pausedUntil, this.time.now + nanos)
    if (this.isEmpty()) return
    this.hold()
    this.wake()
  }

  resume(): void {
    this.pausedUntil = -Infinity
    this.wake()
  }

  /** When a task of cost 1 could pass if nobody waited, in nanoseconds from now; `Infinity` if only an event tells. */
  opensIn(host: Host): number {
    this.look(host)
    return Math.max(0, this.pausedUntil - this.time.now, this.opensNext() - this.time.now)
  }

  /** As `opensAt`, for a waiter that is not there. */
  protected abstract opensNext(): number

  /** Whether the waiter may pass, coming now. */
  admits(waiter: Waiter): boolean {
    return this.isEmpty() && this.isOpen(waiter)
  }

  /** Whether the gate is open to the waiter, if it is the first in line. */
  isOpen(waiter: Waiter): boolean {
    return this.broken === undefined && this.lookFor(waiter) <= this.time.now
  }

  isEmpty(): boolean {
    return this.line.size === 0 && this.fronts.length === 0
  }

  private lookFor(waiter: Waiter): number {
    if (this.isTimed || this.pausedUntil !== -Infinity) {
      this.look(waiter.host)
      if (this.pausedUntil > this.time.now) {
        this.hold()
        return this.pausedUntil
      }
      this.pausedUntil = -Infinity
    }
    return this.opensAt(waiter)
  }

  protected look(host: Host): void {
    if (this.isEmpty() || this.time.clock === undefined) this.time.follow(host.clock)
    this.time.look()
  }

  /** Lets the waiter wait here, behind all others, or before all others if it had been the first in line already. */
  enqueue(waiter: Waiter, asFirst: boolean): void {
    this.waiting++
    const { inside } = waiter
    if (inside !== undefined) (this.nesting ??= inside.nestingAt(this, this.line)).add(waiter)
    if (asFirst) this.line.addFirst(waiter)
    else this.line.add(waiter)
  }

  /** To be called when the waiter stands wherever it has to: whoever is let pass may be what ends it. */
  enqueued(waiter: Waiter): void {
    if (this.line.first === waiter || this.fronts.length > 0) this.pump()
  }

  /** The waiter is here to stay, for now. */
  stays(waiter: Waiter): void {
    if (waiter.inside !== undefined) this.nesting!.holdUp(waiter)
  }

  /** Takes the waiter out of the line. */
  dequeue(waiter: Waiter): void {
    this.waiting--
    if (waiter.inside !== undefined) this.nesting!.remove(waiter)
    this.line.remove(waiter)
  }

  /** The waiter, which this gate is open to, goes on to wait at an older one. */
  keepFor(waiter: Waiter): void {
    if (!this.fronts.includes(waiter)) {
      this.waiting++
      this.fronts.push(waiter)
    }
    this.disarm()
    this.hold()
  }

  /** To be called after `keepFor`, as `enqueued` is. */
  kept(): void {
    if (this.nesting !== undefined) this.pump()
  }

  /** Undoes `keepFor`. */
  release(waiter: Waiter): void {
    this.fronts.splice(this.fronts.indexOf(waiter), 1)
    this.waiting--
  }

  /** Refuses those who wait and can never pass any more. */
  protected refuseHopeless(): void {
    for (const waiter of this.waiters) {
      const objection = waiter.objection()
      // Refusing one lets those behind it pass, or has them refused.
      if (objection !== undefined && waiter.isWaiting) waiter.refuse(objection)
    }
    this.nesting?.breakDeadlock()
  }

  /** To be called when the gate may have opened. */
  protected wake(): void {
    if (this.line.size > 0) this.pump()
  }

  /** Lets pass who may. */
  pump(): void {
    if (this.isPumping || this.isPostponed) return
    this.isPumping = true
    for (let waiter = this.next(); waiter !== undefined; waiter = this.next()) {
      const objection = waiter.objection()
      if (objection !== undefined) {
        waiter.refuse(objection)
        continue
      }
      if (!this.mayOpen()) break
      const opensAt = this.lookFor(waiter)
      if (opensAt > this.time.now) {
        this.arm(opensAt, waiter.host)
        break
      }
      if (overdue(waiter.host.isLive)) {
        this.postpone(waiter.host)
        break
      }
      this.dequeue(waiter)
      waiter.pass()
    }
    this.isPumping = false
    if (this.isEmpty()) this.disarm()
  }

  /**
   * Somebody has stopped waiting, and will not be back in this step: if it was the last, the gate comes to rest. Not
   * part of `pump`, since a run that has just passed with one item as a rule comes with the next.
   */
  settleDown(): void {
    if (!this.isEmpty()) return
    this.disarm()
    this.rest()
    if (this.onIdle !== undefined) this.tellIdle()
  }

  /** Who is to pass next. */
  private next(): Waiter | undefined {
    const front = this.fronts.at(-1)
    if (front === undefined) return this.line.first
    // While one waits for a place that a task holds elsewhere, that task must be able to go on.
    return this.nesting?.first(front.waitsAt)
  }

  private postpone(host: Host): void {
    this.isPostponed = true
    later(host.dispatcher, () => {
      this.isPostponed = false
      this.pump()
    })
  }

  private arm(at: number, host: Host): void {
    if (this.timer !== undefined) {
      if (this.timerAt <= at) return
      this.disarm()
    }
    if (at === Infinity) return
    // A timer that fired early has to be set again, and for a test clock far from zero the remaining nanoseconds may
    // round to nothing: the least sleep doubles until the clock moves.
    this.leastSleep = at === this.timerAt ? Math.max(1000, this.leastSleep * 2) : 0
    this.timerAt = at
    const nanos = Math.min(Math.max(at - this.time.now, this.leastSleep), maxSleep)
    const timer = host.fork(this.time.clock!.sleep(Duration.nanos(BigInt(nanos))))
    this.timer = timer
    const wake = (): void => {
      if (this.timer !== timer) return
      this.timer = undefined
      turnBegins()
      this.pump()
    }
    // A clock that does not wait must not turn this into a loop that nobody can end.
    if (timer.pollUnsafe() === undefined) timer.addObserver(wake)
    else later(host.dispatcher, wake)
  }

  private disarm(): void {
    const timer = this.timer
    this.timer = undefined
    this.timerAt = NaN
    timer?.interruptUnsafe()
  }
}

/** The gates of a call as its tickets want them: each once, youngest first. */
export const inOrder = (...gates: ReadonlyArray<ReadonlyArray<Gate>>): ReadonlyArray<Gate> =>
  Array.from(new Set(gates.flat())).sort((a, b) => Number(a.holds) - Number(b.holds) || b.age - a.age)

/** How many tasks may run at once behind these gates. */
export const capacityOf = (gates: ReadonlyArray<Gate>): number =>
  gates.reduce((least, gate) => Math.min(least, gate.capacity), Infinity)

/** The names that the windows of these gates have. */
export const namesOf = (gates: ReadonlyArray<Holdable>): ReadonlySet<string> =>
  new Set(gates.flatMap((gate) => Array.from(gate.names)))

/**
 * The gates that all of these give. Each is held while the others are asked for: that may be what has the idle gate of a
 * key forgotten.
 */
export const together = <G extends Gate>(gatesOf: ReadonlyArray<() => ReadonlyArray<G>>): ReadonlyArray<G> => {
  const held: Array<G> = []
  for (const each of gatesOf) {
    for (const gate of each()) {
      gate.join()
      held.push(gate)
    }
  }
  for (const gate of held) gate.part()
  return held
}
