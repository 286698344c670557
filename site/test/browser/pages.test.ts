/** The pages of the site in Chromium. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ready, startSite } from "./site.ts"
import type { Site } from "./site.ts"

let site: Site
beforeAll(async () => {
  site = await startSite()
})
afterAll(() => site.close())

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

interface Results {
  readonly violations: ReadonlyArray<{
    readonly id: string
    readonly nodes: ReadonlyArray<{ readonly html: string; readonly failureSummary?: string }>
  }>
}

const still = { reducedMotion: "reduce" } as const
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true } as const

describe("accessibility: axe finds nothing", () => {
  it.each([
    ["/", {}],
    ["/", { colorScheme: "dark" }],
    ["/", phone],
    ["/playground?failures=20&onFailure=continue&beside=p-queue", {}],
    ["/playground", { colorScheme: "dark" }],
    ["/getting-started", {}],
    ["/getting-started", { colorScheme: "dark" }],
    ["/concepts", phone],
    ["/moving-over", {}],
    ["/how-it-works", { colorScheme: "dark" }],
    ["/recipes/everyday", {}],
    ["/benchmarks", {}],
    ["/api/promise/", {}],
    ["/api/promise/interfaces/Meter", {}]
  ] as const)("%s %o", async (path, options) => {
    const page = await site.open(path, { ...still, ...options })
    await page.evaluate(axe)
    const results = await page.evaluate(() =>
      (globalThis as unknown as { readonly axe: { readonly run: () => Promise<Results> } }).axe.run()
    )
    expect(
      results.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(" | ")}`)
    ).toEqual([])
    await page.context().close()
  })
})

it("the choice between promises and Effect holds on all pages, and is remembered", async () => {
  const page = await site.open("/getting-started", still)
  const tabs = page.locator(".flavours").first().getByRole("tab")
  await tabs.first().focus()
  await page.keyboard.press("ArrowRight")
  await page.getByRole("tab", { name: "Effect", selected: true }).first().waitFor()
  expect(await page.getByRole("tab", { name: "Promises", selected: true }).count()).toBe(0)
  await page.goto(`${site.url}/`)
  await ready(page)
  await page.getByRole("tab", { name: "Effect", selected: true }).first().waitFor()
  expect(await page.locator(".landing").getByText("Stream.runForEach").isVisible()).toBe(true)
  await page.context().close()
})

it("search finds an option", async () => {
  const page = await site.open("/getting-started", still)
  await page.getByRole("button", { name: "Search" }).first().click()
  await page.locator("#localsearch-input").fill("maxUnread")
  await page.locator(".VPLocalSearchBox .result").first().waitFor()
  expect(await page.locator(".VPLocalSearchBox .result").count()).toBeGreaterThan(1)
  await page.context().close()
})

it.each(["/", "/playground", "/concepts", "/promise/guide", "/moving-over", "/api/promise/"])(
  "%s fits a phone: the page does not scroll sideways",
  async (path) => {
    const page = await site.open(path, { ...still, ...phone })
    const overhang = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth
    )
    expect(overhang).toBe(0)
    await page.context().close()
  }
)

it("llms.txt leads to texts that are served, and llms-full.txt has all of them", async () => {
  const read = async (path: string): Promise<string> => {
    const response = await fetch(site.url + path)
    expect(response.status, path).toBe(200)
    return response.text()
  }
  const full = await read("/llms-full.txt")
  const links = Array.from((await read("/llms.txt")).matchAll(/\]\((.*?)\)/g), ([, path]) => path!)
  expect(links.length).toBeGreaterThan(10)
  for (const path of links) {
    const text = await read(path)
    if (path !== "/llms-full.txt") expect(full.includes(text.trim()), path).toBe(true)
  }
})

it("nothing has gone wrong in any tab", () => {
  expect(site.problems).toEqual([])
})
