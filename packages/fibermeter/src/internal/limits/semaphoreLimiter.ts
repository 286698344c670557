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
import { sharing } from "./sharing.ts"
import type { Waiter } from "../admission/types.ts"
import { fail } from "../admission/waiters.ts"
import { refusalOf } from "../admission/errors.ts"
import { asFiberHost } from "../runtime/fiberHost.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"

type Release = () => void

/** Permits that are asked for, and then in hand, for the first waiter. */
interface Asked {
  readonly permits: number
  /** The fiber that asks, once it is forked. */
  fiber: Fiber.Fiber<void> | undefined
  /** Gives the permits back, once they are in hand. */
  release: Release | undefined
}

export class SemaphoreLimiter extends Limiter {
  override readonly sharing = sharing
  override readonly canKeep = false
  readonly names: Iterable<string> = []
  readonly isTimed = false
  private readonly semaphore: Semaphore.Semaphore
  private asked: Asked | undefined
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

  opensAt({ host, permits }: Waiter): number {
    if (this.asked?.permits !== permits) {
      this.onIdle()
      this.ask(asFiberHost(host), permits)
    }
    return this.asked?.release === undefined ? Infinity : -Infinity
  }

  nextOpening(): number {
    return this.permitsInUse < this.capacity ? -Infinity : Infinity
  }

  take({ permits }: Waiter): void {
    const release = this.asked!.release!
    this.asked = undefined
    const held = this.held.get(permits)
    if (held === undefined) this.held.set(permits, [release])
    else held.push(release)
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
    const { asked } = this
    this.asked = undefined
    if (asked?.release === undefined) asked?.fiber?.interruptUnsafe()
    else asked.release()
  }

  private ask(host: FiberHost, permits: number): void {
    const asked: Asked = { permits, fiber: undefined, release: undefined }
    this.asked = asked
    const holder = host.fork(
      this.semaphore.withPermits(permits)(
        Effect.callback<void>((resume) => {
          asked.release = () => resume(Effect.void)
          // Otherwise `opensAt` is about to return that the limiter is open to its waiter. To look at the waiters here could
          // exchange what that one asked for.
          if (asked.fiber !== undefined) this.wake()
        })
      )
    )
    asked.fiber = holder
    if (asked.release !== undefined) return
    holder.addObserver((exit) => {
      if (this.asked !== asked || Exit.isSuccess(exit)) return
      this.asked = undefined
      fail(this, refusalOf(exit.cause))
    })
  }
}
