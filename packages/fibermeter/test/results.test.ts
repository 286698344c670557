/** Results belong to their own tasks, although objects of an ended task are reused for later ones. */
import { describe, expect, it } from "@effect/vitest"
import { runAll } from "../src/index.ts"
import { Log } from "./support/Log.ts"

describe("tasks that start after another has ended", () => {
  it("each have their own result", async () => {
    const log = new Log()
    const lengths = [10, 500, 400, 300]
    const results = await log.world.value(runAll(lengths, (ms, i) => log.task(`t${i}`, ms), { maxPerSecond: 10 }))
    expect(results).toEqual(["t0", "t1", "t2", "t3"])
    log.expectRest()
  })
})
