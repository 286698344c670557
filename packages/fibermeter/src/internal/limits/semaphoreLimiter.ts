/**
 * The limiter of an Effect `Semaphore` that others may take permits from as well.
 *
 * A semaphore can only be asked for a permit, not whether it has one to give. So while somebody waits here, one fiber
 * asks on behalf of whoever is first in line; nobody else of this limiter stands in the semaphore's own queue, so that
 * its cost per release, which grows with that queue, stays that of one. The permit is held by that fiber, inside
 * `withPermits`, until the task has ended: the one way to hold one which no interruption can make it lose.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Semaphore from "effect/Semaphore"
import { permitsOf } from "../runtime/effectInternals.ts"
import { Limiter } from "../admission/limiter.ts"
import type { Waiter } from "../admission/limiter.ts"
import { setQueueOf } from "../admission/setQueue.ts"
import { refusalOf } from "../admission/errors.ts"
import { asFiberHost } from "../runtime/fiberHost.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"

type Release = () => void

export class SemaphoreLimiter extends Limiter {
  override readonly queueOf = setQueueOf
  override readonly canKeep = false
  readonly names: Iterable<string> = []
  readonly isTimed = false
  private readonly semaphore: Semaphore.Semaphore
  private asking: Fiber.Fiber<void> | undefined
  /** The permit for whoever is first in line. */
  private inHand: Release | undefined
  private readonly held: Array<Release> = []

  constructor(semaphore: Semaphore.Semaphore) {
    super()
    this.semaphore = semaphore
  }

  /** The semaphore's, which can be resized. */
  get capacity(): number {
    return permitsOf(this.semaphore)
  }

  opensAt(waiter: Waiter): number {
    if (this.inHand === undefined && this.asking === undefined) this.ask(asFiberHost(waiter.host))
    return this.inHand === undefined ? Infinity : -Infinity
  }

  protected nextOpening(): number {
    return this.running < this.capacity ? -Infinity : Infinity
  }

  protected take(): void {
    this.held.push(this.inHand!)
    this.inHand = undefined
  }

  correct(): void {}

  protected release(): void {
    // Which of the permits it is makes no difference.
    this.held.pop()!()
  }

  protected shiftTime(): void {}

  /** No semaphore's permit is held for a waiter that waits for something else. */
  onBlocked(): void {
    this.onIdle()
  }

  protected onIdle(): void {
    const { asking, inHand } = this
    this.asking = this.inHand = undefined
    asking?.interruptUnsafe()
    inHand?.()
  }

  private ask(host: FiberHost): void {
    const holder = host.fork(
      this.semaphore.withPermit(
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
