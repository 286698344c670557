/**
 * Pulls items from an async iterable.
 */
import { calls } from "fibermeter/engine"
import type { Rejection } from "./rejection.ts"

export class AsyncSource<A> implements calls.Source<A, Rejection> {
  item!: A
  failure!: Rejection
  onReady!: () => void
  private readonly iterable: AsyncIterable<A>
  private iterator: AsyncIterator<A> | undefined
  private answer: calls.Next | undefined
  private isPending = false
  private isOver = false

  constructor(iterable: AsyncIterable<A>) {
    this.iterable = iterable
  }

  next(): calls.Next {
    if (this.answer !== undefined) {
      const answer = this.answer
      this.answer = undefined
      return answer
    }
    this.isPending = true
    void this.advance()
    return calls.Next.pending
  }

  close(onClosed: (failure?: Rejection) => void): void {
    if (this.isOver) return onClosed()
    this.isOver = true
    // An async generator that is suspended in an `await` answers `return` only after that, which may be never.
    const isSuspended = this.isPending
    void this.leave().then(isSuspended ? undefined : onClosed)
    if (isSuspended) onClosed()
  }

  private async advance(): Promise<void> {
    this.answer = await this.step()
    this.isPending = false
    if (this.answer !== calls.Next.item) this.isOver = true
    this.onReady()
  }

  private async step(): Promise<calls.Next> {
    try {
      this.iterator ??= this.iterable[Symbol.asyncIterator]()
      const result = calls.resultOf(await this.iterator.next())
      if (result.done === true) return calls.Next.done
      this.item = result.value
      return calls.Next.item
    } catch (reason) {
      this.failure = { reason }
      return calls.Next.failed
    }
  }

  private async leave(): Promise<Rejection | undefined> {
    try {
      await this.iterator?.return?.()
      return undefined
    } catch (reason) {
      return { reason }
    }
  }
}
