/** The programs of this folder, each run as a user runs it. The servers in the programs count the requests. */
import { execFile } from "node:child_process"
import { readdirSync } from "node:fs"
import { basename } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const programs = {
  pages: new URL("pages.ts", import.meta.url),
  streams: new URL("streams.ts", import.meta.url),
  retry: new URL("retry.ts", import.meta.url),
  progress: new URL("progress.ts", import.meta.url),
  requests: new URL("requests.ts", import.meta.url)
}

interface Printed {
  readonly stdout: ReadonlyArray<string>
  readonly stderr: ReadonlyArray<string>
}

/** The output of a program, line by line. It must exit with 0. */
const run = (program: URL) =>
  new Promise<Printed>((resolve, reject) => {
    const options = { env: { NO_COLOR: "1" }, timeout: 30_000 }
    execFile(process.execPath, [fileURLToPath(program)], options, (error, stdout, stderr) => {
      if (error === null) resolve({ stdout: linesOf(stdout), stderr: linesOf(stderr) })
      else reject(new Error(`${basename(program.pathname)}: ${error.message}\n${stderr}`))
    })
  })

const linesOf = (text: string) => text.split("\n").slice(0, -1)

describe("everyday", { timeout: 60_000 }, () => {
  it("pages: requests only the pages that are needed", async () => {
    expect(await run(programs.pages)).toEqual({
      stdout: [
        '50 names, from "the name of 0" to "the name of 49"',
        "requested pages: 0, 10, 20, 30, 40",
        "12 names",
        "requested pages: 0, 10"
      ],
      stderr: []
    })
  })

  it("streams: each line is an item, and leaving the loop closes an infinite stream", async () => {
    expect(await run(programs.streams)).toEqual({
      stdout: [
        "sum of the numbers in the file: 500500",
        "event 1",
        "event 2",
        "event 3",
        "the client has closed the connection"
      ],
      stderr: []
    })
  })

  it("retry: after a 429 no request is sent until the pause ends, and all requests succeed in the end", async () => {
    expect(await run(programs.retry)).toEqual({
      stdout: [
        "the response to /1",
        "the response to /2",
        "the response to /3",
        "the response to /4",
        "the response to /5",
        "the response to /6",
        "the response to /7",
        "the response to /status",
        "the server answered 8 requests and refused 1"
      ],
      stderr: []
    })
  })

  it("progress: the counts rise to 100 documents and ten retries", async () => {
    const { stderr, stdout } = await run(programs.progress)
    expect(stdout).toEqual(["100 documents"])
    // Without a terminal, each report is a line of its own. The first one is empty.
    const [first, ...lines] = stderr
    expect(first).toMatch(/^\S $/)
    const reports = lines.map((line) => {
      const numbers = /^\S (\d+) of 100, (\d+) running, (\d+) retries, \d+ per second$/.exec(line)
      if (numbers === null) throw new Error(`no report: ${line}`)
      const [done, running, retried] = numbers.slice(1).map(Number)
      return { done: done!, running: running!, retried: retried! }
    })
    expect(reports.at(-1)).toEqual({ done: 100, running: 0, retried: 10 })
    expect(lines.at(-1)).toMatch(/^✔/)
    expect(reports.map(({ done }) => done)).toEqual(reports.map(({ done }) => done).toSorted((a, b) => a - b))
    expect(Math.max(...reports.map(({ running }) => running))).toBeLessThanOrEqual(10)
  })

  it("requests: each task runs in the context of its request, and the shutdown rejects waiting requests", async () => {
    expect(await run(programs.requests)).toEqual({
      stdout: [
        "first: 200 fine, fine",
        "second: 200 fine, fine",
        "third: 200 fine, fine",
        "first: requests /orders",
        "first: requests /user",
        "second: requests /orders",
        "second: requests /user",
        "third: requests /orders",
        "third: requests /user",
        "slow: 503 AbortError: the meter has been closed",
        "late: 503 AbortError: the meter has been closed",
        "late: is rejected at shutdown",
        "slow: is rejected at shutdown",
        "slow: requests /orders",
        "slow: requests /report",
        "slow: requests /user",
        "at most 1 request at once at the API"
      ],
      stderr: []
    })
  })

  it("every program has a test", () => {
    const files = readdirSync(new URL(".", import.meta.url)).filter((file) => file.endsWith(".ts"))
    const others = ["everyday.test.ts", "serve.ts"]
    const run = Object.values(programs).map(({ pathname }) => basename(pathname))
    expect(files.filter((file) => !others.includes(file)).toSorted()).toEqual(run.toSorted())
  })
})
