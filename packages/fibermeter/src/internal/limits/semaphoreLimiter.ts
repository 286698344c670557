/**
 * The limiter of an Effect `Semaphore` that other code may take permits from as well.
 *
 * A semaphore can only be asked for permits, not whether it has any free. So while a request waits here, one fiber asks on
 * behalf of the first waiter. No other waiter of this limiter is in the semaphore's own queue, so the cost of a release, which
 * grows with that queue, stays that of one waiter. The permits are held by that fiber, inside of `withPermits`, until the task
 * has ended: no interruption of the task can lose them.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Semaphore from "effect/Semaphore"
import { permitsOf } from "../runtime/effectInternals.ts"
import { Limiter } from "../admission/limiter.ts"
import { sharing } from "../admission/sharing.ts"
import type { Waiter } from "../admission/types.ts"
import { refusalOf } from "../admission/errors.ts"
import { asFiberHost } from "../runtime/fiberHost.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"

type Release = () => void

export class SemaphoreLimiter extends Limiter {
  override readonly sharing = sharing
  override readonly canKeep = false
  readonly names: Iterable<string> = []
  readonly isTimed = false
  private readonly semaphore: Semaphore.Semaphore
  private asking: Fiber.Fiber<void> | undefined
  /** How many permits are asked for, or in hand. */
  private permits = 0
  /** Releases the permits that are held for the first waiter. */
  private inHand: Release | undefined
  /** What releases the permits of each task, by how many it holds. */
  private readonly held = new Map<number, Array<Release>>()

  constructor(semaphore: Semaphore.Semaphore) {
    super()
    this.semaphore = semaphore
  }

  /** The semaphore's, which can be resized. */
  get capacity(): number {
    return permitsOf(this.semaphore)
  }

  opensAt(waiter: Waiter): number {
    if (waiter.permits !== this.permits) this.onIdle()
    if (this.inHand === undefined && this.asking === undefined) this.ask(asFiberHost(waiter.host), waiter.permits)
    return this.inHand === undefined ? Infinity : -Infinity
  }

  nextOpening(): number {
    return this.permitsInUse < this.capacity ? -Infinity : Infinity
  }

  take({ permits }: Waiter): void {
    const held = this.held.get(permits)
    if (held === undefined) this.held.set(permits, [this.inHand!])
    else held.push(this.inHand!)
    this.inHand = undefined
  }

  override release(permits: number): void {
    // Which of the tasks with as many permits it is makes no difference.
    this.held.get(permits)!.pop()!()
  }

  /** No permit of a semaphore is held for a waiter that waits for something else. */
  override onBlocked(): void {
    this.onIdle()
  }

  override onIdle(): void {
    const { asking, inHand } = this
    this.asking = this.inHand = undefined
    asking?.interruptUnsafe()
    inHand?.()
  }

  private ask(host: FiberHost, permits: number): void {
    this.permits = permits
    const holder = host.fork(
      this.semaphore.withPermits(permits)(
        Effect.callback<void>((resume) => {
          this.asking = undefined
          this.inHand = () => resume(Effect.void)
          this.wake()
        })
      )
    )
    if (this.inHand !== undefined) return
    this.asking = holder
    holder.addObserver((exit) => {
      if (this.asking !== holder || Exit.isSuccess(exit)) return
      this.asking = undefined
      this.fail(refusalOf(exit.cause))
    })
  }
}
