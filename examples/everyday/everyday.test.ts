/** The programs of this folder, each run as a user would run it. The servers in them do the counting. */
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

/** What a program prints, line by line. It has to end well. */
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
  it("pages: only those that are needed are asked for", async () => {
    expect(await run(programs.pages)).toEqual({
      stdout: [
        '50 names, from "the name of 0" to "the name of 49"',
        "pages asked for: 0, 10, 20, 30, 40",
        "12 names",
        "pages asked for: 0, 10"
      ],
      stderr: []
    })
  })

  it("streams: every line is an item, and a stream without an end is left", async () => {
    expect(await run(programs.streams)).toEqual({
      stdout: [
        "the numbers of the file add up to 500500",
        "event 1",
        "event 2",
        "event 3",
        "the server has seen the client hang up"
      ],
      stderr: []
    })
  })

  it("retry: after a 429 the server is left alone, and in the end everything is answered", async () => {
    expect(await run(programs.retry)).toEqual({
      stdout: [
        "the answer to /1",
        "the answer to /2",
        "the answer to /3",
        "the answer to /4",
        "the answer to /5",
        "the answer to /6",
        "the answer to /7",
        "the answer to /status",
        "the server has answered 8 and refused 1"
      ],
      stderr: []
    })
  })

  it("progress: counts go up, to all documents and the retries of ten", async () => {
    const { stderr, stdout } = await run(programs.progress)
    expect(stdout).toEqual(["100 documents"])
    // Where there is no terminal, each report is a line of its own; the first says that nothing is known yet.
    const [first, ...lines] = stderr
    expect(first).toMatch(/^\S $/)
    const reports = lines.map((line) => {
      const numbers = /^\S (\d+) of 100, (\d+) now, (\d+) tried again, \d+ a second$/.exec(line)
      if (numbers === null) throw new Error(`no report: ${line}`)
      const [done, running, retried] = numbers.slice(1).map(Number)
      return { done: done!, running: running!, retried: retried! }
    })
    expect(reports.at(-1)).toEqual({ done: 100, running: 0, retried: 10 })
    expect(lines.at(-1)).toMatch(/^✔/)
    expect(reports.map(({ done }) => done)).toEqual(reports.map(({ done }) => done).toSorted((a, b) => a - b))
    expect(Math.max(...reports.map(({ running }) => running))).toBeLessThanOrEqual(10)
  })

  it("requests: each task knows its request, and the shutdown leaves nobody waiting", async () => {
    expect(await run(programs.requests)).toEqual({
      stdout: [
        "first: 200 fine, fine",
        "second: 200 fine, fine",
        "third: 200 fine, fine",
        "first: asks for /orders",
        "first: asks for /user",
        "second: asks for /orders",
        "second: asks for /user",
        "third: asks for /orders",
        "third: asks for /user",
        "slow: 503 AbortError: the meter has been closed",
        "late: 503 AbortError: the meter has been closed",
        "late: is told that the program ends",
        "slow: asks for /orders",
        "slow: asks for /report",
        "slow: asks for /user",
        "slow: is told that the program ends",
        "at most 1 at once at the API"
      ],
      stderr: []
    })
  })

  it("every program is run here", () => {
    const files = readdirSync(new URL(".", import.meta.url)).filter((file) => file.endsWith(".ts"))
    const others = ["everyday.test.ts", "serve.ts"]
    const run = Object.values(programs).map(({ pathname }) => basename(pathname))
    expect(files.filter((file) => !others.includes(file)).toSorted()).toEqual(run.toSorted())
  })
})
