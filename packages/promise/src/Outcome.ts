/**
 * How a task has ended, with `settled: true`.
 *
 * @since 0.1.0
 */
export type Outcome<B, A = unknown> =
  | { readonly status: "fulfilled"; readonly value: B; readonly index: number; readonly item: A }
  | { readonly status: "rejected"; readonly reason: unknown; readonly index: number; readonly item: A }
