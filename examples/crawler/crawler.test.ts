/** The crawler, as a process of its own, over HTTP. */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { delays, serveSite } from "./site.ts"
import type { Site } from "./site.ts"

interface Crawl {
  readonly child: ChildProcess
  readonly lines: Promise<ReadonlyArray<string>>
  /** Resolves when the progress line has this in it. */
  readonly shows: (part: string) => Promise<void>
}

const crawl = (site: Site): Crawl => {
  const child = spawn(process.execPath, [fileURLToPath(new URL("crawl.ts", import.meta.url)), site.start])
  const lines = text(child.stdout).then((stdout) => stdout.trimEnd().split("\n"))
  let shown = ""
  child.stderr.on("data", (chunk) => (shown += String(chunk)))
  const shows = async (part: string): Promise<void> => {
    while (!shown.includes(part)) await new Promise((resolve) => child.stderr.once("data", resolve))
  }
  return { child, lines, shows }
}

it("visits every page once, at the rate that each host allows", async () => {
  await using site = await serveSite()
  const begun = performance.now()
  const { lines, shows } = crawl(site)
  const printed = await lines
  const elapsed = performance.now() - begun
  expect(printed.at(-1)).toBe("300 pages, 1 broken links")
  expect(printed.length).toBe(301)
  expect(new Set(printed.slice(0, -1).map((line) => line.split(" ")[0]))).toEqual(new Set(site.pages))
  expect(printed[0]).toBe(`${site.start} Page 0`)
  await shows("300 pages")
  for (const { mostAtOnce, requests } of site.hosts) {
    expect(requests[0], "what the host allows is known before its first page is requested").toBe("/robots.txt")
    expect(new Set(requests).size, "nothing is requested twice").toBe(requests.length)
    expect(mostAtOnce).toBeLessThanOrEqual(2)
  }
  // Sixty pages have 59 delays between them.
  expect(elapsed).toBeGreaterThan(59 * 1000 * Math.max(...delays))
})

it("Ctrl-C prints the pages so far", async () => {
  await using site = await serveSite(50)
  const { child, lines, shows } = crawl(site)
  await shows("50 pages")
  child.kill("SIGINT")
  const printed = await lines
  expect(printed.length).toBe(51)
  expect(printed.at(-1)).toMatch(/^50 pages, \d broken links, stopped early$/)
  expect(child.exitCode ?? 0).toBe(0)
})
