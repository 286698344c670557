/**
 * Discards results; the first failure decides. For `runOnEach`.
 */
import type { Collector } from "../run/run.ts"

export const discard: Collector<unknown, unknown> = {
  succeeded: () => false,
  failed: () => true
}
