/** Processes that share a meter on a server: all starts are counted by one clock, the machine's monotonic one. */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { createInterface } from "node:readline"
import { afterAll, beforeAll, expect, it } from "vitest"
import { bundle, type Bundle } from "./support/bundle.ts"
import { type Delays, openProxy, type Proxy } from "./support/proxy.ts"
import { describeWithServer } from "./support/server.ts"
import type { Work } from "./support/worker.ts"

const millis = 1_000
const second = 1_000_000

const now = (): number => Number(process.hrtime.bigint() / 1_000n)
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

let worker: Bundle
beforeAll(async () => {
  worker = await bundle("worker.ts")
})
afterAll(() => worker.remove())

interface Line {
  readonly at: number
  readonly text: string
}

class Process {
  readonly child: ChildProcess
  readonly starts: Array<number> = []
  readonly ends: Array<number> = []
  readonly events: Array<Line> = []
  /** When it was killed. */
  killed = Infinity
  readonly ready: Promise<void>
  readonly over: Promise<void>

  constructor(work: Work) {
    this.child = spawn(process.execPath, [worker.file, JSON.stringify(work)], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    const lines = createInterface({ input: this.child.stdout! })
    this.ready = new Promise((resolve) => {
      lines.on("line", (line) => {
        const [kind, at, ...rest] = line.split(" ")
        if (kind === "r") resolve()
        if (kind === "s") this.starts.push(Number(at))
        if (kind === "e") this.ends.push(Number(at))
        if (kind === "!") this.events.push({ at: Number(at), text: rest.join(" ") })
      })
    })
    this.over = new Promise((resolve) => lines.on("close", resolve))
  }

  begin(): void {
    this.child.stdin!.end("go")
  }

  kill(): void {
    this.child.kill("SIGKILL")
    this.killed = now()
  }

  /** From when to when each task ran. A task holds its permit until the process is gone. */
  get uses(): ReadonlyArray<readonly [from: number, to: number]> {
    const ends = this.ends.toSorted((one, other) => one - other)
    return this.starts.map((from, index) => [from, ends[index] ?? this.killed])
  }
}

/** Runs processes, and ends those that have not ended by themselves. */
const together = async (
  count: number,
  work: Omit<Work, "client" | "port">,
  port: number | ((index: number) => number),
  during: (processes: ReadonlyArray<Process>) => Promise<void> = async () => {}
): Promise<ReadonlyArray<Process>> => {
  const processes = Array.from({ length: count }, (_, index) => {
    const client = index % 2 === 0 ? "node-redis" : "ioredis"
    return new Process({ ...work, port: typeof port === "number" ? port : port(index), client })
  })
  try {
    await Promise.all(processes.map(({ ready }) => ready))
    for (const each of processes) each.begin()
    await during(processes)
    await Promise.all(processes.map(({ over }) => over))
  } finally {
    for (const { child } of processes) if (child.exitCode === null) child.kill("SIGKILL")
  }
  return processes
}

/** The most starts in any half-open window of that length. */
const mostIn = (processes: ReadonlyArray<Process>, per: number): number => {
  const starts = processes.flatMap(({ starts }) => starts).toSorted((one, other) => one - other)
  let most = 0
  let first = 0
  starts.forEach((at, index) => {
    // Times are rounded down to microseconds, so that two may be closer than they seem by one.
    while (starts[first]! <= at - per - 1) first++
    most = Math.max(most, index - first + 1)
  })
  return most
}

/** How many tasks ran at each change of that number. */
const inUse = (
  uses: ReadonlyArray<readonly [from: number, to: number]>
): ReadonlyArray<readonly [at: number, count: number]> => {
  let count = 0
  return uses
    .flatMap(([from, to]) => [
      { at: from, by: 1 },
      { at: to, by: -1 }
    ])
    .toSorted((one, other) => one.at - other.at || one.by - other.by)
    .map(({ at, by }) => [at, (count += by)] as const)
}

const mostAtOnce = (processes: ReadonlyArray<Process>): number =>
  Math.max(...inUse(processes.flatMap(({ uses }) => uses)).map(([, count]) => count))

const startsOf = (processes: ReadonlyArray<Process>): number =>
  processes.reduce((sum, { starts }) => sum + starts.length, 0)

const lease = 1_000

describeWithServer("processes", "none", (server) => {
  it("a rate holds in any second over all of them, and each task runs once", async () => {
    const work = { name: "rate", limits: { maxPerSecond: 400 }, store: { lease }, tasks: 300, taskMillis: 0 }
    const processes = await together(4, work, server().port)
    expect(startsOf(processes)).toBe(1_200)
    expect(mostIn(processes, second)).toBeLessThanOrEqual(400)
    const starts = processes.flatMap(({ starts }) => starts).toSorted((one, other) => one - other)
    expect(starts.at(-1)! - starts[0]!).toBeGreaterThanOrEqual(2 * second)
  })

  it("windows hold at any offset, with bursts at once", async () => {
    const windows = { short: { limit: 50, per: 250 }, long: { limit: 150, per: 1_000 } }
    const processes = await together(
      4,
      { name: "windows", limits: { windows }, store: { lease }, tasks: 100, taskMillis: 0 },
      server().port
    )
    expect(startsOf(processes)).toBe(400)
    expect(mostIn(processes, 250 * millis)).toBeLessThanOrEqual(50)
    expect(mostIn(processes, second)).toBeLessThanOrEqual(150)
  })

  it("kill -9 of two of four: never more at once than allowed, and the permits are back after the lease", async () => {
    const work = { name: "kill", limits: { maxAtOnce: 10 }, store: { lease }, tasks: 130, taskMillis: 40 }
    let killed = 0
    const processes = await together(4, work, server().port, async ([one, other]) => {
      await sleep(400)
      one!.kill()
      other!.kill()
      killed = now()
    })
    expect(mostAtOnce(processes)).toBeLessThanOrEqual(10)
    const rest = processes.slice(2)
    expect(startsOf(rest)).toBe(260)
    // What the killed ones held is not used meanwhile; afterwards all ten are.
    const again = inUse(rest.flatMap(({ uses }) => uses)).find(([at, count]) => at > killed && count >= 10)
    expect(again).toBeDefined()
    // The lease and 100 ms, and time for wake-ups on a machine that does other things as well.
    expect(again![0] - killed).toBeLessThan((lease + 100 + 400) * millis)
    // A busy machine may make them late, or let them stand still for a moment.
    const late = ["late", "stalled"]
    expect(rest.flatMap(({ events }) => events.map(({ text }) => text)).filter((text) => !late.includes(text))).toEqual(
      []
    )
  })

  it("a process that stands still for longer than its lease gets an event, and no window is broken", async () => {
    // So that each of them runs a task at any time.
    const limits = { maxAtOnce: 8, maxPerSecond: 200 }
    const processes = await together(
      4,
      { name: "stop", limits, store: { lease }, tasks: 30, taskMillis: 100 },
      server().port,
      async ([one]) => {
        await sleep(300)
        one!.child.kill("SIGSTOP")
        await sleep(1_600)
        one!.child.kill("SIGCONT")
      }
    )
    expect(mostIn(processes, second)).toBeLessThanOrEqual(200)
    const [stopped, ...others] = processes
    expect(mostAtOnce(others)).toBeLessThanOrEqual(8)
    expect(startsOf(others)).toBe(90)
    expect(stopped!.events.map(({ text }) => text)).toContain("leaseLost")
    expect(others.flatMap(({ events }) => events).map(({ text }) => text)).not.toContain("leaseLost")
  })

  it("a script flush costs nothing, and after FLUSHALL nothing starts for the longest window", async () => {
    const work = { name: "flush", limits: { maxPerSecond: 200 }, store: { lease }, tasks: 150, taskMillis: 0 }
    let flushed = 0
    const processes = await together(3, work, server().port, async () => {
      const connection = await server().connect()
      await sleep(300)
      await connection.send(["SCRIPT", "FLUSH"])
      await sleep(300)
      await connection.send(["FLUSHALL"])
      flushed = now()
      connection.close()
    })
    expect(startsOf(processes)).toBe(450)
    expect(mostIn(processes, second)).toBeLessThanOrEqual(200)
    expect(processes.flatMap(({ events }) => events).map(({ text }) => text)).toContain("stateLost")
    // Slots that were granted before may be used; then there are none for more than a second.
    const starts = processes.flatMap(({ starts }) => starts).filter((at) => at > flushed + 300 * millis)
    expect(Math.min(...starts) - flushed).toBeGreaterThan(second)
  })

  it("a process that ends by itself, without closing its meter, leaves nothing held", async () => {
    const limits = { maxAtOnce: 3 }
    const store = { lease: 60_000 }
    const began = now()
    await together(2, { name: "exit", limits, store, tasks: 10, taskMillis: 5 }, server().port)
    const processes = await together(1, { name: "exit", limits, store, tasks: 3, taskMillis: 20 }, server().port)
    expect(mostAtOnce(processes)).toBe(3)
    expect(now() - began).toBeLessThan(50 * second)
  })
})

/** Runs processes of which each has a connection to the server that the test can disturb. */
const withProxies = async (
  count: number,
  work: Omit<Work, "client">,
  delays: Delays | undefined,
  during: (processes: ReadonlyArray<Process>, proxies: ReadonlyArray<Proxy>) => Promise<void> = async () => {}
): Promise<ReadonlyArray<Process>> => {
  const proxies: Array<Proxy> = []
  try {
    for (let index = 0; index < count; index++) proxies.push(await openProxy(work.port, delays))
    return await together(
      count,
      work,
      (index) => proxies[index]!.port,
      (processes) => during(processes, proxies)
    )
  } finally {
    for (const proxy of proxies) proxy.close()
  }
}

describeWithServer("processes on a network", "none", (server) => {
  const around = (least: number, most: number) => (): number => least + Math.random() * (most - least)
  const ways: Record<string, Delays> = {
    "round trips of 20 ms": { there: () => 10, back: () => 10 },
    "slow requests and quick replies": { there: () => 25, back: () => 1 },
    "quick requests and slow replies": { there: () => 1, back: () => 25 },
    "delays that change all the time": { there: around(0, 30), back: around(0, 30) }
  }

  it.each(Object.keys(ways))("%s: a rate and permits hold, and each task runs once", async (name) => {
    const limits = { maxPerSecond: 300, maxAtOnce: 20 }
    const work = { port: server().port, name, limits, store: { lease }, tasks: 120, taskMillis: 30 }
    const processes = await withProxies(3, work, ways[name])
    expect(startsOf(processes)).toBe(360)
    expect(mostIn(processes, second)).toBeLessThanOrEqual(300)
    expect(mostAtOnce(processes)).toBeLessThanOrEqual(20)
  })

  it("a reply delayed beyond the lease, or a cut connection, ends tasks before others get their permits", async () => {
    const limits = { maxPerSecond: 300, maxAtOnce: 8 }
    const disturb = async (kind: "cut" | "hold"): Promise<void> => {
      const work = { port: server().port, name: kind, limits, store: { lease }, tasks: 4, taskMillis: 2_000 }
      let disturbed = 0
      const processes = await withProxies(4, work, undefined, async (processes, proxies) => {
        await sleep(500)
        // One that holds permits, while others wait for some.
        disturbed = processes.findIndex(({ starts }) => starts.length > 0)
        const proxy = proxies[disturbed]!
        if (kind === "hold") proxy.hold("back")
        else proxy.cut()
        await sleep(1_500)
        // What is granted by that reply is void by then.
        proxy.release()
        proxy.mend()
      })
      expect(startsOf(processes)).toBe(16)
      expect(mostIn(processes, second)).toBeLessThanOrEqual(300)
      expect(mostAtOnce(processes)).toBeLessThanOrEqual(8)
      processes.forEach(({ events }, index) => {
        expect(events.some(({ text }) => text === "leaseLost")).toBe(index === disturbed)
      })
    }
    await Promise.all([disturb("hold"), disturb("cut")])
  })
})

describeWithServer("processes", "aof", (server) => {
  it("a restart of the server, by a signal and by kill -9, loses no waiter and breaks no limit", async () => {
    const limits = { maxAtOnce: 8, maxPerSecond: 200 }
    const processes = await together(
      4,
      { name: "restart", limits, store: { lease }, tasks: 100, taskMillis: 20 },
      server().port,
      async () => {
        await sleep(300)
        await server().restart("SIGTERM")
        await sleep(500)
        await server().restart("SIGKILL")
      }
    )
    // A task whose lease was lost meanwhile is cancelled, which counts as run.
    expect(startsOf(processes)).toBe(400)
    expect(mostIn(processes, second)).toBeLessThanOrEqual(200)
  })
})
