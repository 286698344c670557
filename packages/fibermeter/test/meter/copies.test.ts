/** A program that has loaded the package twice: meters of one copy are rejected by the other, and nothing hangs. */
import { describe, expect, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import * as fibermeter from "../../src/index.ts"
import { defectOf } from "../support/Log.ts"
import { verbs } from "../support/verbs.ts"
import { World } from "../support/World.ts"

const { Meter } = fibermeter
vi.resetModules()
const other = (await import("../../src/index.ts")).Meter.makeUnsafe({ maxAtOnce: 1 })
const own = Meter.makeUnsafe({ maxAtOnce: 1 })
const message = "was made by another copy of fibermeter that this program has loaded: make all meters by the same one"

describe("a meter of another copy", () => {
  it("is not a meter of this copy", () => {
    expect([own, other].map(Meter.isMeter)).toEqual([true, false])
  })

  it.each(verbs)("is rejected by $name", async ({ run }) => {
    for (const [meter, name] of [
      [other, "meter"],
      [[own, other], "meter[1]"]
    ] as const) {
      const exit = await new World().run(run([1], Effect.succeed, { meter }))
      expect(defectOf(exit)).toMatchObject({ _tag: "IllegalArgumentError", message: `${name} ${message}` })
    }
  })

  const uses: ReadonlyArray<readonly [string, Effect.Effect<unknown>]> = [
    ["metered", Meter.metered(Effect.void, other)],
    ["acquire", Effect.scoped(Meter.acquire(other))],
    ["pause", Meter.pause(other)],
    ["resume", Meter.resume(other)],
    ["resize", Meter.resize(other, { maxAtOnce: 2 })],
    ["snapshot", Meter.snapshot(other)],
    ["idle", Meter.idle(other)]
  ]
  it.each(uses)("is rejected by Meter.%s", async (_, effect) => {
    const exit = await new World().run(effect)
    expect(defectOf(exit)).toMatchObject({ _tag: "IllegalArgumentError", message: `the meter ${message}` })
  })

  it("is rejected by Meter.all", () => {
    expect(() => Meter.all(own, other)).toThrow(`each of the meters ${message}`)
  })
})
