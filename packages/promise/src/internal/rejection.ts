/** How a task, or a call, has failed: the very value that was thrown, which may be `undefined`. */
export interface Rejection {
  readonly reason: unknown
}

/** How a task has failed, and which it was. */
export interface TaskRejection<A> extends Rejection {
  readonly item: A
}
