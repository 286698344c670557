/** Meters of several processes on one store in memory, under fake timers. */
import { createMeter } from "@fibermeter/promise"
import type { Meter, MeterOptions } from "@fibermeter/promise"
import type { StoreEvent, StoreOptions } from "../../src/index.ts"
import { troubledStore } from "./trouble.ts"

/** The meters log when their tasks start. */
export const scene = (limits: MeterOptions, count = 1, options: StoreOptions = {}) => {
  const events: Array<StoreEvent> = []
  const [store, trouble] = troubledStore({ onEvent: (event) => events.push(event), ...options })
  const log: Array<string> = []
  const create = (more: MeterOptions = {}): Meter => createMeter({ store, name: "api", ...limits, ...more })
  const meters = Array.from({ length: count }, () => create())
  const task =
    (name: string, ms = 0) =>
    async () => {
      log.push(`${name} ${Date.now()}`)
      if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
      return name
    }
  return { create, events, log, meters: meters as [Meter, ...Array<Meter>], store, task, trouble }
}
