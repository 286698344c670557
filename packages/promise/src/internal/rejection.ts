/** How a task or a call has failed: the very value that was thrown, which may be `undefined`. */
export interface Rejection {
  readonly reason: unknown
}

/** How a task has failed, and its item. */
export interface TaskRejection<A> extends Rejection {
  readonly item: A
}

export const toRejection = (reason: unknown): Rejection => ({ reason })
