import assert from "node:assert/strict"
import { test } from "node:test"
import { setImmediate } from "node:timers/promises"
import { runAll } from "@fibermeter/promise"

await test("ten tasks a second start 100 ms apart", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] })
  const starts = runAll([1, 2, 3, 4], () => Date.now(), { maxPerSecond: 10 })
  for (let i = 0; i < 3; i++) {
    await setImmediate() // lets promises settle
    t.mock.timers.tick(100)
  }
  assert.deepEqual(await starts, [0, 100, 200, 300])
})
