/** The playground in Chromium. */
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { codeFor, textOf } from "../../playground/code.ts"
import { controls, defaults, fromQuery, toQuery } from "../../playground/settings.ts"
import { simulate } from "../../playground/simulate.ts"
import { changes } from "../support/changes.ts"
import { startsOf } from "../support/runCopied.ts"
import { lastReport, pictures, ready, startSite } from "./site.ts"
import type { Site } from "./site.ts"

let site: Site
beforeAll(async () => {
  site = await startSite()
})
afterAll(() => site.close())

/** Then a run is shown at its end, and nothing moves. */
const still = { reducedMotion: "reduce" } as const

const programsOf = async (page: Page): Promise<ReadonlyArray<string>> => {
  const texts = await page.locator(".program pre").evaluateAll((all) => all.map((each) => each.textContent))
  return [texts.slice(0, 3).join(""), texts.slice(3).join("")]
}

describe("each control changes the picture and both programs", () => {
  let page: Page
  beforeAll(async () => {
    page = await site.open("/playground", still)
  })
  afterAll(() => page.context().close())

  it.each(Object.entries(changes))("%s", async (key, { base, text }) => {
    await page.goto(`${site.url}/playground?${toQuery({ ...defaults, ...base })}`)
    await ready(page)
    const [before] = await pictures(page)
    const [promise, effect] = await programsOf(page)
    const control = controls.find((each) => each.key === key)!
    await page.locator(`.playground details`).evaluateAll((all) => {
      for (const each of all) (each as HTMLDetailsElement).open = true
    })
    const input = page.locator(`.playground [name=${key}]`)
    if (control.kind === "choice") await input.selectOption(text)
    else if (control.kind === "toggle") await input.check()
    else await input.fill(text)
    await ready(page)
    await expect.poll(async () => (await pictures(page))[0]).not.toBe(before)
    const [promiseAfter, effectAfter] = await programsOf(page)
    expect(promiseAfter).not.toBe(promise)
    expect(effectAfter).not.toBe(effect)
    // The address holds it.
    expect(new URL(page.url()).searchParams.get(key)).toBe(text)
  })
})

describe("a run", () => {
  const query = "verb=run&tasks=60&failures=10&lanes=3&arrivals=8&seed=42&beside=bottleneck"

  it("is the same for everybody who opens its address", async () => {
    const first = await site.open("/playground", still)
    await ready(first)
    await first.locator("[name=verb]").selectOption("amap")
    await first.locator("[name=tasks]").fill("30")
    await first.locator("[name=beside]").selectOption("p-map")
    await ready(first)
    const second = await site.open(new URL(first.url()).pathname + new URL(first.url()).search, still)
    await ready(second)
    expect(await second.locator(".figures").innerText()).toBe(await first.locator(".figures").innerText())
    expect(await pictures(second)).toEqual(await pictures(first))
    expect(await pictures(second)).toHaveLength(2)
    await Promise.all([first.context().close(), second.context().close()])
  })

  it("is what the same modules record in Node, and what the copied program does under fake timers", async () => {
    const page = await site.open(`/playground?${query.replace("&beside=bottleneck", "&beside=none")}`, {
      ...still,
      permissions: ["clipboard-read", "clipboard-write"]
    })
    await ready(page)
    const settings = fromQuery(query)
    const { recording } = await lastReport(page)
    expect(recording).toEqual(await simulate("fibermeter", settings))
    const copied: Array<string> = []
    for (const flavour of ["Promises", "Effect"]) {
      await page.locator(".playground").getByRole("tab", { name: flavour }).click()
      await page.locator(".program:visible .copy").click()
      await page.locator(".program:visible .copied").getByText("Copied").waitFor()
      copied.push(await page.evaluate(() => navigator.clipboard.readText()))
    }
    expect(copied).toEqual((["promise", "effect"] as const).map((flavour) => textOf(codeFor(settings, flavour))))
    const starts = recording.attempts.map(({ from, task }) => ({ at: from, task }))
    expect(await startsOf(copied, "browser")).toEqual([starts, starts])
    await page.context().close()
  })

  it("plays, pauses, and shows any instant", async () => {
    const page = await site.open("/playground?beside=none")
    await ready(page)
    const slider = page.getByRole("slider", { name: "Instant" })
    const instant = async () => Number(await slider.inputValue())
    await expect.poll(instant).toBeGreaterThan(100)
    await page.getByRole("button", { name: "Pause" }).click()
    await page.getByRole("button", { name: "Play" }).waitFor()
    const paused = await instant()
    await ready(page)
    expect(await instant()).toBe(paused)
    await slider.fill("2000")
    await ready(page)
    const [early] = await pictures(page)
    await slider.fill("6000")
    await ready(page)
    const [late] = await pictures(page)
    expect(late).not.toBe(early)
    await slider.fill("2000")
    await ready(page)
    expect((await pictures(page))[0]).toBe(early)
    // By the keyboard as well.
    await slider.press("End")
    await expect.poll(instant).toBe(Number(await slider.getAttribute("max")))
    await page.locator("[name=speed]").selectOption("100")
    await page.getByRole("button", { name: "Play" }).click()
    await expect.poll(instant).toBe(Number(await slider.getAttribute("max")))
    await page.context().close()
  })

  it("in real time is driven by the browser's timers", async () => {
    const page = await site.open("/playground?tasks=6&mean=100&durations=fixed&maxPerSecond=20&time=real&beside=none")
    await expect
      .poll(async () => (await lastReport(page).catch(() => undefined))?.isDone, { timeout: 20_000 })
      .toBe(true)
    const { recording } = await lastReport(page)
    expect(recording.attempts.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 6 }, () => "done"))
    const starts = recording.attempts.map(({ from }) => from)
    // A clock of microseconds, and timers that may be late but never early by more than its rounding.
    for (const [index, start] of starts.entries()) expect(start - starts[0]!).toBeGreaterThan(50 * index - 11)
    expect(starts.every(Number.isInteger)).toBe(false)
    await page.context().close()
  })
})

it("a change that cannot be drawn is not lost: what is typed stays until it is complete", async () => {
  const page = await site.open("/playground", still)
  await ready(page)
  const rate = page.locator("[name=maxPerSecond]")
  await rate.fill("")
  await rate.pressSequentially("0.5")
  expect(await rate.inputValue()).toBe("0.5")
  await rate.blur()
  expect(new URL(page.url()).searchParams.get("maxPerSecond")).toBe("0.5")
  await rate.fill("9999")
  await rate.blur()
  expect(await rate.inputValue()).toBe("500")
  await page.context().close()
})

it("nothing has gone wrong in any tab", () => {
  expect(site.problems).toEqual([])
})
