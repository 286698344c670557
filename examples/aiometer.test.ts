/**
 * The examples of aiometer's README for both packages. Each program is run as a user runs it, and `docs/aiometer.md` shows
 * its code.
 */
import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { basename } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const programs = {
  "fibermeter for promises": {
    headline: new URL("aiometer/promise/headline.ts", import.meta.url),
    flowControl: new URL("aiometer/promise/flow-control.ts", import.meta.url),
    helloWorld: new URL("aiometer/promise/hello-world.ts", import.meta.url),
    sleepSort: new URL("aiometer/promise/sleep-sort.ts", import.meta.url),
    points: new URL("aiometer/promise/points.ts", import.meta.url)
  },
  "fibermeter for Effect": {
    headline: new URL("aiometer/core/headline.ts", import.meta.url),
    flowControl: new URL("aiometer/core/flow-control.ts", import.meta.url),
    helloWorld: new URL("aiometer/core/hello-world.ts", import.meta.url),
    sleepSort: new URL("aiometer/core/sleep-sort.ts", import.meta.url),
    points: new URL("aiometer/core/points.ts", import.meta.url)
  }
}
const { "fibermeter for promises": forPromises, "fibermeter for Effect": forEffect } = programs

/** The output of a program. It must exit with 0 and print nothing to standard error. */
const run = (program: URL) =>
  new Promise<string>((resolve, reject) => {
    execFile(process.execPath, [fileURLToPath(program)], { env: { NO_COLOR: "1" } }, (error, stdout, stderr) => {
      if (error === null && stderr === "") resolve(stdout)
      else reject(new Error(`${basename(program.pathname)}: ${error?.message}\n${stderr}`))
    })
  })

const linesOf = async (program: URL) => (await run(program)).trimEnd().split("\n")
/** The output as one line, because printed arrays may take several lines. */
const joined = async (program: URL) => (await run(program)).replaceAll(/\s+/g, " ").trim()

const guide = readFileSync(new URL("../docs/aiometer.md", import.meta.url), "utf8")

// One after the other, with retries: on a very busy machine, a task that sleeps 0.1 s longer may wake first.
describe.each(Object.entries(programs))("%s", { timeout: 60_000, retry: 2 }, (_, of) => {
  it("headline: each response once as it becomes available, then all in input order", async () => {
    const printed = await joined(of.headline)
    const indexes = Array.from(printed.matchAll(/\{ index: (\d) \}/g), ([, index]) => Number(index))
    expect(indexes.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(printed).toMatch(/\} \[ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 \]$/)
  })

  it("hello world: results of the four verbs", async () => {
    expect(await linesOf(of.helloWorld)).toEqual([
      "[ 'Hello, Carmen!', 'Hello, Lucas!', 'Hello, Robert!' ]",
      "[ 'Hello, Robert!', 'Hello, Carmen!', 'Hello, Lucas!' ]",
      "Hello, Carmen!",
      "Hello, Lucas!",
      "Hello, Robert!",
      "Hello, Carmen!",
      "[ 'Hello, Lucas!', 42 ]"
    ])
  })

  it("sleep sort", async () => {
    expect(await joined(of.sleepSort)).toBe("[ 0.1, 0.2, 0.2, 0.3, 0.5, 0.5, 0.6, 0.7 ]")
  })

  it("points", async () => {
    expect(await run(of.points)).toBe("140\n")
  })

  it.each(["headline", "helloWorld", "sleepSort", "points"] as const)("the guide shows %s", (name) => {
    const code = readFileSync(of[name], "utf8").replace(/^\/\*\*[\s\S]*?\*\/\n/, "")
    expect(guide).toContain("```ts\n" + code + "```")
  })
})

describe("flow control", { timeout: 60_000 }, () => {
  it("for promises: no limit is exceeded", async () => {
    const printed = await run(forPromises.flowControl)
    const [atOnce, inAnySecond, apart] =
      /^50 queries, at most (\d+) at once\n12 queries, at most (\d+) in any second\n2 jobs, ([\d.]+) ms apart\n$/
        .exec(printed)
        ?.slice(1)
        .map(Number) ?? []
    expect(atOnce).toBe(5)
    expect(inAnySecond).toBeGreaterThan(1)
    expect(inAnySecond).toBeLessThanOrEqual(10)
    expect(apart).toBeGreaterThanOrEqual(5000)
  })

  it("for Effect: each task starts at its exact instant", async () => {
    expect(await linesOf(forEffect.flowControl)).toEqual([
      // 200 rounds of five, 50 ms each.
      "1000 queries in 10 s, at most 5 at once, starts at least 0 ms apart",
      // The last query starts after 99.9 s.
      "1000 queries in 99.95 s, at most 1 at once, starts at least 100 ms apart",
      // The last job starts after 495 s. At most two overlap: a job takes 10 s, and one starts every 5 s.
      "100 jobs in 505 s, at most 2 at once, starts at least 5000 ms apart"
    ])
  })
})

it("every program has a test", () => {
  const files = readdirSync(new URL("aiometer", import.meta.url), { recursive: true, encoding: "utf8" })
  const run = Object.values(programs).flatMap((of) => Object.values(of).map(({ pathname }) => basename(pathname)))
  expect(
    files
      .map((file) => basename(file))
      .filter((file) => file.endsWith(".ts"))
      .toSorted()
  ).toEqual(run.toSorted())
})
