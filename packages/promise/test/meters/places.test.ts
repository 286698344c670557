/** A call that uses several meters is among the calls of each, wherever it stands there. */
import { describe, expect, it } from "vitest"
import { createMeter, runOnEach } from "../../src/index.ts"
import { expectNoUnhandledRejection, pass, sleep, useVirtualTime, watch } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

describe("a call under two meters, one of which has other calls before it", () => {
  it("is done with both when it ends: closing either waits for nobody but those", async () => {
    const busy = createMeter({})
    const idle = createMeter({})
    const before = watch(busy.run(() => sleep(50)))
    const call = watch(runOnEach([1], () => sleep(10), { meter: [busy, idle] }))
    await pass(100)
    expect(before.outcome).toMatchObject({ status: "fulfilled" })
    expect(call.outcome).toMatchObject({ status: "fulfilled" })
    const closed = [watch(busy.close()), watch(idle.close())]
    await pass(100)
    for (const { outcome } of closed) expect(outcome).toMatchObject({ status: "fulfilled" })
  })
})
