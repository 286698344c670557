/** A program that has loaded the package twice: meters of one copy are rejected by the other, and nothing hangs. */
import { describe, expect, it, vi } from "vitest"
import { createMeter } from "../../src/index.ts"
import { probe, rejection, verbs } from "../support.ts"

vi.resetModules()
const other = (await import("../../src/index.ts")).createMeter({ maxAtOnce: 1 })
const own = createMeter({ maxAtOnce: 1 })
const message =
  "was made by another copy of @fibermeter/promise that this program has loaded: make all meters by the same one"

describe.each(verbs)("$name", ({ call }) => {
  it("rejects a meter of another copy", async () => {
    for (const [meter, name] of [
      [other, "meter"],
      [[own, other], "meter[1]"]
    ] as const) {
      const p = probe(() => ({}))
      const reason = await rejection(Promise.resolve().then(() => call([1], p, { meter }).promise))
      expect(reason).toBeInstanceOf(TypeError)
      expect(reason).toMatchObject({ message: `${name} ${message}` })
      expect(p.order).toEqual([])
    }
  })
})

it("a meter's own verbs reject it, too", async () => {
  expect(await rejection(own.runAll([1], (n) => n, { meter: other }))).toMatchObject({ message: `meter ${message}` })
})
