/** Set-up file of the coverage run: reports the blocks that each test executes. `main.ts` has instrumented the blocks. */
import { afterEach, beforeAll } from "vitest"

const executed = (): Array<true | undefined> => ((globalThis as { reached?: Array<true | undefined> }).reached ??= [])
const take = (): Array<number> => {
  const blocks = Object.keys(executed()).map(Number)
  executed().length = 0
  return blocks
}

let byLoading: Array<number> = []
beforeAll(() => {
  byLoading = take()
})
// Blocks that are executed between two tests count for the second test.
afterEach(({ task }) => {
  const meta = task.meta as { reached?: Array<number>; byLoading?: Array<number> }
  meta.reached = take()
  meta.byLoading = byLoading
})
