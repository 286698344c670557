import { execFile, fork, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it, vi } from "vitest"
import { startClients } from "./processes.ts"
import { startRedis } from "./redisServer.ts"
import type { Seen, Stats } from "./server.ts"
import { alignTable, showProgress } from "./terminal.ts"
import { drawTimeline } from "./timeline.ts"

const ways = ["facade amap", "facade runAll", "core amap"]
const hasRedis = (process.env["PATH"] ?? "").split(delimiter).some((each) => existsSync(join(each, "redis-server")))
const folder = mkdtempSync(join(tmpdir(), "fibermeter-demo-"))
afterAll(() => rmSync(folder, { recursive: true }))

interface Ended {
  readonly code: unknown
  readonly stdout: string
  readonly stderr: string
  /** The folder for its temporary files. */
  readonly temporary: string
}

const main = fileURLToPath(new URL("main.ts", import.meta.url))
const places = (hasPath: boolean) => {
  const cwd = mkdtempSync(join(folder, "run-"))
  const temporary = mkdtempSync(join(folder, "temporary-"))
  return { cwd, temporary, env: { ...process.env, TMPDIR: temporary, ...(hasPath ? {} : { PATH: temporary }) } }
}
const run = (hasPath: boolean, flags: ReadonlyArray<string>) =>
  new Promise<Ended>((done) => {
    const { cwd, env, temporary } = places(hasPath)
    execFile(process.execPath, [main, ...flags], { cwd, env }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : error.code, stdout, stderr, temporary })
    )
  })
/** Runs the demo in its own folder, on a machine without Redis. */
const runDemo = (...flags: ReadonlyArray<string>) => run(false, flags)
/** Runs the demo as a user does, in its own folder. */
const runWithRedis = (...flags: ReadonlyArray<string>) => run(true, flags)

const redisPort = (stdout: string) => Number(/A redis-server runs at 127\.0\.0\.1:(\d+)\./.exec(stdout)?.[1])
/** How a connection to this port ends. */
const connection = async (port: number) => {
  const socket = connect(port, "127.0.0.1")
  const fate = await once(socket, "connect").then(
    () => "accepted",
    (error: NodeJS.ErrnoException) => error.code
  )
  socket.destroy()
  return fate
}

const picturePath = (stdout: string) => /Timeline of the run: (.+)/.exec(stdout)?.[1] ?? "none"

/** The figures of one row of the table at the end: at once, in any second, 429s, documents. */
const figuresOf = (stdout: string, name: string) => {
  const figures = new RegExp(String.raw`^${name} +(\d+) +(\d+) +(\d+) +(\d+)`, "m").exec(stdout)
  return figures?.slice(1).map(Number)
}

/** The elements of an SVG. Throws if its tags do not match, as an XML parser does. */
const parseSvg = (svg: string) => {
  const open: Array<string> = []
  const elements: Array<{ name: string; depth: number; attributes: Record<string, string> }> = []
  const outside = svg.replace(
    /<(\/?)([a-z]+)((?: [\w:-]+="[^"<&]*")*)(\/?)>/gi,
    (_, closes, name, list: string, empty) => {
      if (closes === "/") {
        if (open.pop() !== name) throw new Error(`</${name}> closes something else`)
        return ""
      }
      const attributes = Object.fromEntries(
        Array.from(list.matchAll(/([\w:-]+)="([^"]*)"/g), ([, key, value]) => [key, value])
      )
      elements.push({ name, depth: open.length, attributes })
      if (empty === "") open.push(name)
      return ""
    }
  )
  if (open.length > 0) throw new Error(`<${open.join("><")}> never closed`)
  if (/[<&]/.test(outside)) throw new Error(`no XML: ${/[<&].{0,40}/.exec(outside)?.[0]}`)
  return elements
}

const tasksIn = (svg: string) => parseSvg(svg).filter(({ attributes }) => attributes["class"]?.startsWith("task "))
/** The source of each card. */
const cardsOf = (svg: string) => svg.split("<g ").slice(1)

const seen = (from: number, to: number, outcome: Seen["outcome"] = "answered"): Seen => ({
  path: "/documents/1",
  client: "",
  status: 200,
  latency: to - from,
  from,
  to,
  outcome
})

describe.concurrent("the demo", { timeout: 60_000 }, () => {
  it("fetches all documents in each way, within the limits, and draws the run", async () => {
    // At 30 per second a slow machine cannot exceed a limit: at most the ten running requests can arrive bunched.
    const { code, stdout, stderr } = await runDemo("--documents", "60", "--max-per-second", "30")
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(stdout).toContain("All limits were kept.")
    expect(stdout).toMatch(/^Left out: there is no redis-server in the PATH\.$/m)
    expect(figuresOf(stdout, "4 processes")).toBe(undefined)

    expect(figuresOf(stdout, "limit")).toEqual([10, 50, 0, 60])
    for (const way of ways) {
      const [atOnce = Infinity, inAnySecond = Infinity, ...rest] = figuresOf(stdout, way) ?? []
      expect(atOnce).toBeGreaterThan(1)
      expect(atOnce).toBeLessThanOrEqual(10)
      expect(inAnySecond).toBeGreaterThan(1)
      expect(inAnySecond).toBeLessThanOrEqual(30 + 10)
      expect(rest).toEqual([0, 60])
      // Progress without a terminal: plain lines, the last one when all documents are done.
      expect(stdout).toMatch(new RegExp(String.raw`^${way} +[█░]+ +running +\d+ +done +\d+/60 +rate +\d+/s`, "m"))
      expect(stdout).toMatch(new RegExp(String.raw`^${way} +█+ +running +0 +done 60/60 `, "m"))
    }
    expect(stdout).not.toContain("\r")
    expect(stdout).not.toContain("\u001B")

    // The race: a mirror that fails first does not win, and the server sees that all losers are cancelled.
    expect(stdout).toMatch(/^Cairo +answered with 503/m)
    expect(stdout).toMatch(/^Lisbon +answered with 200 .*: wins$/m)
    expect(stdout.match(/^(Osaka|Quito|Bergen) +cancelled by the client after/gm)).toHaveLength(3)

    expect(picturePath(stdout)).toMatch(/demo-timeline\.svg$/)
    const svg = readFileSync(picturePath(stdout), "utf8")
    const [first = "", second = "", third = "", race = "", ...more] = cardsOf(svg)
    expect(more).toEqual([])
    expect(tasksIn(svg)).toHaveLength(3 * 60 + 5)
    expect(race.match(/class="task cancelled"/g)).toHaveLength(3)
    for (const card of [first, second, third]) {
      const bars = Array.from(
        card.matchAll(/class="task answered" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"/g),
        ([, x, y, width]) => ({ y: Number(y), from: Number(x), to: Number(x) + Number(width) })
      )
      expect(bars).toHaveLength(60)
      const lanes = Map.groupBy(bars, ({ y }) => y)
      expect(lanes.size).toBeLessThanOrEqual(10)
      for (const lane of lanes.values()) {
        lane.slice(1).forEach((bar, index) => expect(bar.from).toBeGreaterThanOrEqual(lane[index]?.to ?? Infinity))
      }
    }
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })

  it("sends at most 10 at once and 45 per second by default", async () => {
    const { code, stdout } = await runDemo("--documents", "20")
    expect(code).toBe(0)
    expect(stdout).toContain("The client sends at most 10 at once and 45 per second.\nWhy not 50?")
  })

  it("exits with 1 if more requests run at once than the server allows", async () => {
    const { code, stdout, stderr } = await runDemo(
      "--max-at-once",
      "20",
      "--max-per-second",
      "1000",
      "--documents",
      "40"
    )
    expect(code).toBe(1)
    expect(stdout).not.toContain("All limits were kept.")
    expect(stdout).toContain("That is more than the server allows, so this run is expected to fail.")
    for (const way of ways) {
      expect(stderr).toMatch(new RegExp(String.raw`^${way}: stopped by /documents/\d+: 429 Too Many Requests$`, "m"))
      expect(stderr).toMatch(new RegExp(String.raw`^${way}: (1[1-9]|20) at once, 10 allowed$`, "m"))
      expect(stderr).toMatch(new RegExp(String.raw`^${way}: [1-9]\d* refused with 429$`, "m"))
    }
    // The timeline shows refused requests in red.
    const refused = tasksIn(readFileSync(picturePath(stdout), "utf8")).filter(
      ({ attributes }) => attributes["class"] === "task refused"
    )
    expect(refused.length).toBe(ways.reduce((sum, way) => sum + (figuresOf(stdout, way)?.[2] ?? NaN), 0))
  })

  // Ten at once make about 70 starts per second, so on a very busy machine the first run may not exceed the limit.
  it("exits with 1 if more requests start in a second than the server allows", { retry: 2 }, async () => {
    const { code, stdout, stderr } = await runDemo("--max-per-second", "1000", "--documents", "200")
    expect(code).toBe(1)
    for (const way of ways) {
      expect(stderr).toMatch(new RegExp(String.raw`^${way}: [5-9]\d in a second, 50 allowed$`, "m"))
      expect(stderr).toMatch(new RegExp(String.raw`^${way}: [1-9]\d* refused with 429$`, "m"))
      expect(figuresOf(stdout, way)?.[0]).toBeLessThanOrEqual(10)
    }
    expect(stderr).not.toContain("at once")
  })

  it.each([
    ["--documents", "0"],
    ["--documents", "many"],
    ["--max-at-once", "2.5"],
    ["--max-per-second", "1001"]
  ])("refuses %s %s", async (flag, value) => {
    const { code, stdout, stderr } = await runDemo(flag, value)
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
    expect(stderr).toBe(`${flag} must be a whole number from 1 to 1000, not "${value}"\n`)
  })
})

// The processes load the library from source, so they are run after the other runs and not beside them.
describe(
  `four processes${hasRedis ? "" : " (left out: there is no redis-server in the PATH)"}`,
  { timeout: 60_000 },
  () => {
    it("have a redis-server in CI", () => {
      expect(hasRedis || process.env["CI"] === undefined).toBe(true)
    })

    it.runIf(hasRedis)("share the limits, and the others fetch the documents of the one that is killed", async () => {
      const { code, stdout, stderr, temporary } = await runWithRedis("--documents", "60", "--max-per-second", "30")
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toContain("All limits were kept.")
      const [atOnce = Infinity, inAnySecond = Infinity, ...rest] = figuresOf(stdout, "4 processes") ?? []
      expect(atOnce).toBeGreaterThan(1)
      expect(atOnce).toBeLessThanOrEqual(10)
      // As in one process: only the ten running requests can arrive bunched.
      expect(inAnySecond).toBeLessThanOrEqual(30 + 10)
      expect(rest).toEqual([0, 60])

      const fetched = Array.from(stdout.matchAll(/^process \d {2}(\d+) documents/gm), ([, count]) => Number(count))
      expect(fetched).toHaveLength(4)
      expect(fetched.reduce((sum, count) => sum + count, 0)).toBe(60)
      expect(stdout).toMatch(/^process \d {2}\d+ documents: killed after \d\.\d\d s, while \d+ of its requests were/m)
      expect(stdout).toMatch(/^The others fetched the [1-9]\d* documents that it had not\.$/m)

      const [, , , card = "", ...races] = cardsOf(readFileSync(picturePath(stdout), "utf8"))
      expect(races).toHaveLength(1)
      const colours = Array.from(card.matchAll(/class="task \w+"[^>]* fill="(#\w+)"/g), ([, colour]) => colour)
      expect(new Set(colours).size).toBe(4)
      expect(card).toMatch(/process \d is killed/)
      expect(card).not.toMatch(/NaN|undefined|Infinity/)

      // Neither the server nor its folder is left.
      expect(await connection(redisPort(stdout))).toBe("ECONNREFUSED")
      expect(readdirSync(temporary)).toEqual([])
    })

    it.runIf(hasRedis)("stop at the first request that is refused", async () => {
      const { code, stdout, stderr } = await runWithRedis(
        "--max-at-once",
        "40",
        "--max-per-second",
        "1000",
        "--documents",
        "80"
      )
      expect(code).toBe(1)
      expect(stderr).toMatch(/^4 processes: stopped by \/archive\/\d+: 429 Too Many Requests$/m)
      expect(stderr).toMatch(/^4 processes: [1-4]\d at once, 10 allowed$/m)
      expect(await connection(redisPort(stdout))).toBe("ECONNREFUSED")
    })

    it.runIf(hasRedis)("and their redis-server end with the demo if that is interrupted", async () => {
      const { cwd, env, temporary } = places(true)
      const demo = spawn(process.execPath, [main, "--documents", "10"], {
        cwd,
        env,
        stdio: ["ignore", "pipe", "inherit"]
      })
      const ended = once(demo, "close")
      let port = NaN
      for await (const line of createInterface(demo.stdout)) {
        if (!line.startsWith("A redis-server runs")) continue
        port = redisPort(line)
        expect(await connection(port)).toBe("accepted")
        demo.kill("SIGINT")
      }
      expect(await ended).toEqual([130, null])
      expect(await connection(port)).toBe("ECONNREFUSED")
      expect(readdirSync(temporary)).toEqual([])
    })

    it.runIf(hasRedis)("use the permits of a killed process once its lease has ended, and not before", async () => {
      const server = fork(new URL("server.ts", import.meta.url), { execArgv: [] })
      try {
        const [port] = await once(server, "message")
        const api = `http://127.0.0.1:${port}`
        await using redis = await startRedis()
        const [lease, maxAtOnce] = [1500, 8]
        const limits = { maxAtOnce, maxPerSecond: 45 }
        await using clients = await startClients(["a", "b", "c"], { api, redisPort: redis.port, limits, lease })
        await fetch(`${api}/stats`, { method: "DELETE" })
        const ids = Array.from({ length: 150 }, (_, index) => index + 1)
        const progress = { watch: <A>(task: () => Promise<A>) => task(), [Symbol.dispose]: () => {} }
        const { fetched, killed } = await clients.fetchAll(ids, progress, 30_000)
        const { peakAtOnce, requests } = (await (await fetch(`${api}/stats`)).json()) as Stats
        expect(fetched).toBe(150)
        expect(peakAtOnce).toBe(maxAtOnce)

        // By the server's clock: its connections were closed when it was killed.
        const held = requests.filter(({ outcome }) => outcome === "cancelled")
        expect(held.length).toBeGreaterThan(0)
        expect(held.every(({ client }) => client === killed.name)).toBe(true)
        const killedAt = Math.max(...held.map(({ to }) => to))
        const others = requests.filter(({ client }) => client !== killed.name)
        const runningAt = (time: number) => others.filter(({ from, to }) => from <= time && time < to).length
        const startsAfter = others.map(({ from }) => from).filter((from) => from > killedAt)
        // A lease is renewed before half of it has passed.
        const whileHeld = startsAfter.filter((from) => from < killedAt + lease / 2)
        expect(whileHeld.length).toBeGreaterThan(0)
        expect(Math.max(...whileHeld.map(runningAt))).toBeLessThanOrEqual(maxAtOnce - held.length)
        expect(Math.max(...startsAfter.map(runningAt))).toBe(maxAtOnce)
      } finally {
        server.kill()
      }
    })
  }
)

describe.concurrent("the server", { timeout: 60_000 }, () => {
  const start = async () => {
    const server = fork(new URL("server.ts", import.meta.url), { execArgv: [] })
    const [port] = await once(server, "message")
    const call = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init)
    const stats = async (method: string) => (await (await call("/stats", { method })).json()) as Stats
    return { server, call, stats }
  }

  it("answers ten requests at once, refuses the others, and detects cancelled requests", async () => {
    const { server, call, stats } = await start()
    try {
      const leave = new AbortController()
      // The slowest response, so that all 13 requests overlap.
      const calls = Array.from({ length: 13 }, () => call("/mirrors/Quito", { signal: leave.signal }))
      const refused: Array<number> = []
      await new Promise<void>((resolve, reject) => {
        for (const each of calls) {
          each.then(({ status }) => {
            if (refused.push(status) === 3) resolve()
          }, reject)
        }
      })
      leave.abort()
      await Promise.allSettled(calls)
      expect(refused).toEqual([429, 429, 429])
      const { peakAtOnce, mostInAnySecond, requests } = await stats("GET")
      expect(peakAtOnce).toBe(11)
      const inSecondFrom = (start: number) => requests.filter(({ from }) => from >= start && from < start + 1000).length
      expect(mostInAnySecond).toBe(Math.max(...requests.map(({ from }) => inSecondFrom(from))))
      expect(requests.map(({ outcome }) => outcome).sort()).toEqual([
        ...Array.from({ length: 10 }, () => "cancelled"),
        ...Array.from({ length: 3 }, () => "refused")
      ])
      expect(await stats("DELETE")).toMatchObject({ peakAtOnce: 0, mostInAnySecond: 0, requests: [] })
    } finally {
      server.kill()
    }
  })

  it("serves at least 200 different documents, the same in every run", async () => {
    const { server, call, stats } = await start()
    try {
      const read = async (id: number) => (await call(`/documents/${id}`)).text()
      const bodies = new Set<string>()
      for (let id = 1; id <= 200; id += 10) {
        await stats("DELETE")
        const ten = await Promise.all(Array.from({ length: 10 }, (_, index) => read(id + index)))
        for (const body of ten) bodies.add(body)
      }
      expect(bodies.size).toBe(200)
      await stats("DELETE")
      expect(bodies).toContain(await read(200))
      expect((await call("/documents/1001")).status).toBe(404)
    } finally {
      server.kill()
    }
  })
})

describe("the timeline", () => {
  const allowed = { atOnce: 10, perSecond: 50 }
  const limits = { maxAtOnce: 10, maxPerSecond: 45 }
  const race = { title: "race", note: "", requests: [seen(0, 100), seen(0, 100, "cancelled")] }
  const draw = (requests: ReadonlyArray<Seen>) =>
    drawTimeline({ runs: [{ title: "run", note: "", requests }], race, allowed, limits })
  const yOf = (svg: string) =>
    Array.from((cardsOf(svg)[0] ?? "").matchAll(/class="task \w+" x="[\d.]+" y="([\d.]+)"/g), ([, y]) => Number(y))
  const limitLineOf = (svg: string) => Number(/<path d="M132 ([\d.]+)H1076" class="limit"/.exec(svg)?.[1])

  it("draws ten requests at once below the limit line, and the eleventh above it", () => {
    const ten = draw(Array.from({ length: 10 }, () => seen(0, 100)))
    expect(yOf(ten)).toHaveLength(10)
    expect(Math.min(...yOf(ten))).toBeGreaterThan(limitLineOf(ten))

    const eleven = draw([...Array.from({ length: 10 }, () => seen(0, 100)), seen(50, 50, "refused")])
    expect(yOf(eleven).filter((y) => y < limitLineOf(eleven))).toHaveLength(1)
  })

  it("reuses the lane of a request that has ended", () => {
    expect(new Set(yOf(draw([seen(0, 100), seen(100, 200), seen(200, 300)]))).size).toBe(1)
  })

  it("draws the requests of each process in its colour, and the sum of their running requests", () => {
    const requests = ["a", "b", "a"].map((client, index) => ({ ...seen(100 * index, 400), client }))
    const run = { title: "run", note: "", requests, processes: ["a", "b"], marks: [{ at: 200, label: "now" }] }
    const svg = drawTimeline({ runs: [run, { ...run, marks: [{ at: 900, label: "late" }] }], race, allowed, limits })
    const [first, second, third] = tasksIn(svg).map(({ attributes }) => attributes["fill"])
    expect(first).toBe(third)
    expect(first).not.toBe(second)
    // The highest point of the topmost area is at three of ten running requests.
    const shares = Array.from((cardsOf(svg)[0] ?? "").matchAll(/class="share" d="([^"]+)"/g), ([, path]) => path ?? "")
    expect(shares).toHaveLength(4)
    const heights = Array.from((shares[1] ?? "").matchAll(/V([\d.]+)/g), ([, y]) => Number(y))
    expect(Math.max(...heights) - Math.min(...heights)).toBeCloseTo((66 * 3) / 10)
    expect(svg).toContain(">now<")
    expect(svg, "after the end of the axis").not.toContain(">late<")
  })

  it("is well-formed without requests", () => {
    const svg = draw([])
    expect(tasksIn(svg)).toHaveLength(2)
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })
})

describe("the terminal", () => {
  const record = (isTTY: boolean, columns?: number) => {
    const written: Array<string> = []
    return {
      written,
      isTTY,
      ...(columns === undefined ? {} : { columns }),
      write: (text: string) => written.push(text)
    }
  }

  it("rewrites one line on a terminal, cut to its width", async () => {
    vi.useFakeTimers()
    try {
      const output = record(true, 40)
      const progress = showProgress("a way", 4, output)
      await progress.watch(() => Promise.resolve())
      vi.advanceTimersByTime(300)
      progress[Symbol.dispose]()
      vi.advanceTimersByTime(1000)
      expect(output.written).toHaveLength(5)
      expect(output.written.at(-1)).toBe("\n")
      for (const text of output.written.slice(0, -1)) {
        expect(text.slice(0, 7)).toBe("\ra way ")
        expect(text.slice(40)).toBe("\u001B[K")
      }
    } finally {
      vi.useRealTimers()
    }
  })

  it("prints one line per second without a terminal, with running tasks, done tasks and rate", async () => {
    vi.useFakeTimers()
    try {
      const output = record(false)
      const progress = showProgress("a way", 4, output)
      await progress.watch(() => Promise.resolve())
      await expect(progress.watch(() => Promise.reject(new Error("no")))).rejects.toThrow("no")
      void progress.watch(() => new Promise(() => {}))
      vi.advanceTimersByTime(999)
      expect(output.written).toEqual([])
      vi.advanceTimersByTime(1)
      progress[Symbol.dispose]()
      vi.advanceTimersByTime(5000)
      // After one second the three starts are no longer in the last second.
      const line = "a way          ██████░░░░░░░░░░░░░░░░░░  running  1  done 1/4  rate  0/s  1.00 s\n"
      expect(output.written).toEqual([line, line])
    } finally {
      vi.useRealTimers()
    }
  })

  it("aligns names left and figures right", () => {
    expect(
      alignTable([
        ["", "one", "two"],
        ["name", 1, 22222],
        ["n", 333, ""]
      ])
    ).toBe(["       one     two", "name     1   22222", "n      333"].join("\n"))
  })
})
