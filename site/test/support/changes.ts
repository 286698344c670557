import type { Settings } from "../../playground/settings.ts"

/** For each control, settings beside which it has an effect, and the text of another value. */
export const changes: Readonly<Record<keyof Settings, { readonly base: Partial<Settings>; readonly text: string }>> = {
  verb: { base: {}, text: "runAny" },
  tasks: { base: {}, text: "25" },
  durations: { base: {}, text: "heavy tail" },
  mean: { base: {}, text: "600" },
  seed: { base: {}, text: "7" },
  maxAtOnce: { base: {}, text: "3" },
  maxPerSecond: { base: {}, text: "2.5" },
  maxBurst: { base: { verb: "run", arrivals: 4.5 }, text: "4" },
  windowLimit: { base: {}, text: "8" },
  windowSeconds: { base: { windowLimit: 8 }, text: "4" },
  failures: { base: {}, text: "20" },
  onFailure: { base: { failures: 20 }, text: "continue" },
  retries: { base: { failures: 20 }, text: "2" },
  retryDelay: { base: { failures: 20, retries: 5 }, text: "2000" },
  arrivals: { base: { verb: "run" }, text: "3" },
  lanes: { base: { verb: "run" }, text: "3" },
  urgent: { base: { verb: "run" }, text: "4" },
  reader: { base: { verb: "amap" }, text: "800" },
  maxUnread: { base: { verb: "amap", reader: 800 }, text: "4" },
  ordered: { base: { verb: "amap" }, text: "true" },
  leaveAfter: { base: { verb: "amap" }, text: "6" },
  serverAtOnce: { base: { onFailure: "continue" }, text: "4" },
  serverPerSecond: { base: { onFailure: "continue" }, text: "3" }
}
