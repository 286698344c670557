/** What a limit on a store and a meter have in common is declared on both sides, and means the same. */
import type { MeterOptions } from "@fibermeter/promise"
import type { MeterStore } from "fibermeter"
import type { admission } from "fibermeter/engine"
import { describe, expectTypeOf, it } from "vitest"
import type { ExternalLimit, Meter, SharedStore, Store, Wish } from "../src/index.ts"

describe("the interface", () => {
  it("a store is what meters of both packages take", () => {
    expectTypeOf<Store>().toExtend<admission.ExternalStore>()
    expectTypeOf<ExternalLimit>().toExtend<admission.ExternalLimit>()
    expectTypeOf<SharedStore>().toExtend<NonNullable<MeterOptions["store"]>>()
    expectTypeOf<SharedStore>().toExtend<MeterStore["Service"]>()
  })

  it("a meter is what a limit is attached to, and its waiters are wishes", () => {
    expectTypeOf<admission.ExternalMeter>().toExtend<Meter>()
    expectTypeOf<admission.Waiter>().toExtend<Wish>()
    expectTypeOf<Parameters<admission.ExternalStore["limit"]>>().toExtend<Parameters<Store["limit"]>>()
  })
})
