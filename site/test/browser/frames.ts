/**
 * `pnpm --filter @fibermeter/site frames`: how long the script of a frame takes while 2,000 tasks are played beside another
 * library, from a recorded trace. The site has to be built.
 */
import { ready, startSite } from "./site.ts"

interface TraceEvent {
  readonly name: string
  readonly dur?: number
}

const seconds = 6
const site = await startSite()
try {
  for (const query of [
    "tasks=40",
    "tasks=2000&maxAtOnce=100&maxPerSecond=50",
    "tasks=2000&maxAtOnce=0&maxPerSecond=0"
  ]) {
    const page = await site.open(`/playground?${query}&beside=Promise.all`)
    await ready(page)
    await site.browser.startTracing(page, { categories: ["devtools.timeline"] })
    await page.waitForTimeout(seconds * 1000)
    const trace = JSON.parse((await site.browser.stopTracing()).toString("utf8")) as {
      readonly traceEvents: ReadonlyArray<TraceEvent>
    }
    const millis = trace.traceEvents
      .filter(({ dur, name }) => name === "FireAnimationFrame" && dur !== undefined)
      .map(({ dur }) => dur! / 1000)
      .toSorted((a, b) => a - b)
    const at = (share: number): string => (millis[Math.floor(share * (millis.length - 1))] ?? NaN).toFixed(2)
    console.log(
      `${query}: ${millis.length} frames in ${seconds} s, script per frame ${at(0.5)} ms median, ${at(0.95)} ms at 95 %, ${at(1)} ms at most`
    )
    await page.context().close()
  }
} finally {
  await site.close()
}
