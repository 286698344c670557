/**
 * Chaos: processes share a meter on a server, while processes are killed, stopped and begun, connections are cut and held
 * up, and the server loses what it knows. The faults are drawn from a seed; when exactly each of them strikes is up to the
 * machine.
 *
 * All starts and ends are counted by one clock, the machine's monotonic one. What is checked is what is promised:
 *
 * - No second holds more starts than the limit, apart from those that are reported as `stalled`: a process was stopped
 *   between its last look at the clock and the call of the task.
 * - No more permits than the limit are in use at once, if tasks of stopped processes count until the process was stopped. A
 *   process that a busy machine does not run for 15 ms just when its lease ends is a stopped one.
 * - A process that was stopped for longer than its lease, with tasks that ran, gets `leaseLost` when it resumes.
 * - Each call of a process that was not killed starts its task exactly once, whatever has happened meanwhile.
 *
 * State that is lost while there are processes that do not know it is not noticed by them, of which nothing is promised. So
 * before state is lost, each process that runs must have been granted something since: new, stopped or cut off ones are
 * waited for.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { createInterface } from "node:readline"
import type { ChaosWork } from "./chaosWorker.ts"
import { mostAtOnce, mostIn } from "./counting.ts"
import { openProxy, type Proxy } from "./proxy.ts"
import { random, type Random } from "./random.ts"
import { startServer } from "./redisServer.ts"

export interface Plan {
  readonly seed: number
  /** Faults strike until so much time has passed and each kind has struck. */
  readonly millis: number
  readonly processes: number
  readonly maxPerSecond: number
  readonly maxAtOnce: number
  /** How often each kind of fault strikes in a row of all of them. */
  readonly deck: Readonly<Record<Fault, number>>
  /** The time between two faults, in milliseconds. */
  readonly pause: readonly [least: number, most: number]
}

export type Fault =
  /** kill -9 of a process, and a new one. */
  | "kill"
  /** SIGSTOP, and SIGCONT after more than a lease. */
  | "stop"
  /** The connections of a process are closed, and others refused for a while. */
  | "cut"
  /** The same for all processes. */
  | "outage"
  /** Nothing comes through to or from a process for more than a lease, but no connection is closed. */
  | "hold"
  | "script flush"
  | "flush"
  | "restart"
  | "crash of the server"
  /** The server continues from an earlier state. */
  | "rollback"

export interface Outcome {
  readonly seed: number
  readonly seconds: number
  readonly faults: Readonly<Record<Fault, number>>
  readonly processes: number
  readonly starts: number
  readonly mostInSecond: number
  readonly mostAtOnce: number
  /** Processes that were stopped for longer than their lease while tasks ran, and how many of them have learned of it. */
  readonly stopped: number
  readonly told: number
  /** Calls of processes that were not killed, and what was wrong with any of them. */
  readonly calls: number
  readonly wrong: ReadonlyArray<string>
  /** How often each kind of event has been reported. */
  readonly events: Readonly<Record<string, number>>
}

const lease = 1_000
const second = 1_000_000

const now = (): number => Number(process.hrtime.bigint() / 1_000n)
const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))
const until = async (check: () => boolean): Promise<void> => {
  while (!check()) await sleep(5)
}

/** From when to when a process was stopped. */
interface Stop {
  readonly from: number
  to: number
}

class Process {
  readonly proxy: Proxy
  readonly child: ChildProcess
  /** By the numbers of calls. */
  readonly starts = new Map<number, number>()
  readonly ends = new Map<number, number>()
  /** Calls whose tasks were cancelled, as the lease was lost. */
  readonly cancelled = new Set<number>()
  /** When the machine did not run it, although no signal stopped it. */
  readonly gaps: Array<Stop> = []
  readonly events: Array<{ readonly at: number; readonly type: string }> = []
  readonly wrong: Array<string> = []
  readonly stops: Array<Stop> = []
  isReady = false
  /** Something is being done to it. */
  isBusy = false
  /** When it was killed, if it was. */
  killed = Infinity
  lastStart = 0
  calls: number | undefined
  readonly over: Promise<void>

  constructor(proxy: Proxy, worker: string, work: ChaosWork) {
    this.proxy = proxy
    this.child = spawn(process.execPath, [worker, JSON.stringify(work)], { stdio: ["pipe", "pipe", "inherit"] })
    // It may be killed before it reads what is written to it.
    this.child.stdin!.on("error", () => {})
    const lines = createInterface({ input: this.child.stdout! })
    lines.on("line", (line) => this.read(line))
    this.over = new Promise((resolve) => lines.on("close", resolve))
  }

  private read(line: string): void {
    const [kind, time, ...rest] = line.split(" ")
    const at = Number(time)
    switch (kind) {
      case "r":
        this.isReady = true
        break
      case "s":
        this.starts.set(Number(rest[0]), at)
        this.lastStart = at
        break
      case "e":
        this.ends.set(Number(rest[0]), at)
        if (rest[1] === "true") this.cancelled.add(Number(rest[0]))
        break
      case "g":
        this.gaps.push({ from: Number(rest[0]), to: at })
        break
      case "!":
        this.events.push({ at, type: rest[0]! })
        break
      case "d":
        this.calls = Number(rest[0])
        break
      default:
        this.wrong.push(rest.join(" "))
    }
  }

  /** Whether a task has started and not ended. */
  get isRunning(): boolean {
    return this.starts.size > this.ends.size
  }

  get isAlive(): boolean {
    return this.killed === Infinity
  }

  kill(): void {
    this.child.kill("SIGKILL")
    this.killed = now()
  }

  async stop(millis: number): Promise<void> {
    const stop = { from: now(), to: Infinity }
    this.stops.push(stop)
    this.child.kill("SIGSTOP")
    await sleep(millis)
    stop.to = now()
    this.child.kill("SIGCONT")
  }

  finish(): void {
    this.child.stdin!.end("over\n")
  }

  /** From when to when each task has used its permit. */
  get uses() {
    return [...this.starts].map(([id, from]) => {
      const end = this.ends.get(id) ?? this.killed
      // The first timers after a gap are those that were due in it.
      const gap =
        this.cancelled.has(id) && this.gaps.find((gap) => from < gap.to && gap.from < end && end < gap.to + 5_000)
      const stop = this.stops.find(({ to }) => from < to && to <= end) ?? (gap === false ? undefined : gap)
      // A stopped process uses nothing, and others may do so meanwhile.
      return { from, to: stop === undefined ? end : Math.max(from, stop.from), weight: 1 }
    })
  }

  /** When tasks have started, apart from those that were reported as `stalled`. */
  get startsInTime(): ReadonlyArray<number> {
    const starts = [...this.starts.values()]
    for (const { at, type } of this.events) {
      if (type !== "stalled") continue
      // It is reported right after the start.
      const stalled = starts.findLastIndex((start) => start <= at)
      if (stalled >= 0) starts.splice(stalled, 1)
    }
    return starts
  }

  /** The times that it was stopped while a task ran, and whether it has learned of it. */
  get freezes(): ReadonlyArray<{ readonly told: boolean }> {
    return this.stops.flatMap(({ from, to }) => {
      const ran = [...this.starts].some(
        // Not one that starts while the signal is on its way.
        ([id, at]) => at < from && (this.ends.get(id) ?? this.killed) > to
      )
      // Killed before it could say so.
      if (!ran || to === Infinity || this.killed < to + second) return []
      return [{ told: this.events.some(({ at, type }) => type === "leaseLost" && at >= to) }]
    })
  }
}

/** The faults in a random order, each as often as the deck has it. */
const shuffled = (deck: Plan["deck"], { int }: Random): Array<Fault> => {
  const cards = Object.entries(deck).flatMap(([fault, count]) => Array<Fault>(count).fill(fault as Fault))
  for (let index = cards.length - 1; index > 0; index--) {
    const other = int(0, index)
    ;[cards[index], cards[other]] = [cards[other]!, cards[index]!]
  }
  return cards
}

/** Runs it. `worker` is the file of the program `chaosWorker.ts`. */
export const chaos = async (worker: string, plan: Plan): Promise<Outcome> => {
  const { deck, maxAtOnce, maxPerSecond } = plan
  const draw = random(plan.seed)
  const within = ([least, most]: readonly [number, number]): number => least + draw.next() * (most - least)
  const server = await startServer("aof")
  const processes: Array<Process> = []
  const pending: Array<Promise<void>> = []
  const faults = Object.fromEntries(Object.keys(deck).map((fault) => [fault, 0])) as Record<Fault, number>
  const begin = async (): Promise<void> => {
    const proxy = await openProxy(server.port)
    processes.push(
      new Process(proxy, worker, {
        port: proxy.port,
        client: processes.length % 2 === 0 ? "node-redis" : "ioredis",
        name: "chaos",
        limits: { maxAtOnce, maxPerSecond },
        store: { lease },
        calls: 40,
        takes: [5, 75]
      })
    )
  }
  const alive = (): ReadonlyArray<Process> => processes.filter(({ isAlive }) => isAlive)
  /** One that nothing is being done to. */
  const anyone = (): Process | undefined => {
    const free = alive().filter(({ isBusy, isReady }) => isReady && !isBusy)
    return free.length === 0 ? undefined : draw.pick(free)
  }
  const command = async (...words: ReadonlyArray<string>): Promise<void> => {
    const connection = await server.connect()
    await connection.send(words)
    connection.close()
  }
  /** Whatever the store has said before `at`, all processes have had an answer since. */
  const informed = (at: number): Promise<void> =>
    until(() =>
      alive().every(({ child, lastStart }) => {
        if (child.exitCode !== null) throw new Error(`a process has ended with ${child.exitCode}`)
        return lastStart > at
      })
    )
  /** No process is new, stopped, or cut off. */
  const calm = async (): Promise<void> => {
    await Promise.all(pending.splice(0))
    await informed(now())
  }
  /** Does something to one process for some time, and continues meanwhile. */
  const trouble = (f: (process: Process, millis: number) => Promise<void>, millis: number): boolean => {
    const process = anyone()
    if (process === undefined) return false
    process.isBusy = true
    pending.push(f(process, millis).finally(() => (process.isBusy = false)))
    return true
  }
  const strike: Record<Fault, () => Promise<boolean> | boolean> = {
    kill: () =>
      trouble(
        async (process, millis) => {
          process.kill()
          process.proxy.close()
          await sleep(millis)
          await begin()
        },
        within([0, 400])
      ),
    stop: () =>
      trouble(
        async (process, millis) => {
          // So that it has something to learn of, and not just when a task is called.
          do {
            await until(() => process.isRunning)
            await sleep(3)
          } while (!process.isRunning)
          await process.stop(millis)
        },
        within([1.3 * lease, 2 * lease])
      ),
    cut: () =>
      trouble(
        async ({ proxy }, millis) => {
          proxy.cut()
          await sleep(millis)
          proxy.mend()
        },
        within([0, 1.6 * lease])
      ),
    outage: async () => {
      const cut = alive().filter(({ isBusy }) => !isBusy)
      for (const process of cut) {
        process.isBusy = true
        process.proxy.cut()
      }
      await sleep(within([0, 800]))
      for (const process of cut) {
        process.isBusy = false
        process.proxy.mend()
      }
      return true
    },
    hold: () =>
      trouble(
        async ({ proxy }, millis) => {
          proxy.hold(draw.chance(0.5) ? "both" : "back")
          await sleep(millis)
          proxy.release()
        },
        within([1.1 * lease, 1.6 * lease])
      ),
    "script flush": async () => {
      await command("SCRIPT", "FLUSH")
      return true
    },
    flush: async () => {
      await calm()
      await command("FLUSHALL")
      return true
    },
    restart: async () => {
      await calm()
      await server.restart("SIGTERM")
      return true
    },
    // What it has not written by then is lost, which is a rollback as well.
    "crash of the server": async () => {
      await calm()
      await server.restart("SIGKILL")
      return true
    },
    rollback: async () => {
      await calm()
      const rollBack = server.save()
      // A task may start for so long after the grant: the slack and a horizon.
      await informed(now() + 150_000)
      await rollBack()
      return true
    }
  }
  try {
    await Promise.all(Array.from({ length: plan.processes }, begin))
    await informed(0)
    const began = now()
    let cards = shuffled(deck, draw)
    let isFirst = true
    while (isFirst || now() - began < plan.millis * 1_000) {
      const fault = cards.pop()
      if (fault === undefined) {
        isFirst = false
        cards = shuffled(deck, draw)
        continue
      }
      await sleep(within(plan.pause))
      if (await strike[fault]()) faults[fault]++
      else cards.unshift(fault)
    }
    await Promise.all(pending.splice(0))
    const ended = now()
    for (const process of alive()) process.finish()
    // Each process ends when the last of its calls has ended: a waiter that is lost lets this wait for ever.
    await Promise.all(alive().map(({ over }) => over))
    const freezes = processes.flatMap(({ freezes }) => freezes)
    const events: Record<string, number> = {}
    for (const { type } of processes.flatMap(({ events }) => events)) events[type] = (events[type] ?? 0) + 1
    const starts = processes.flatMap(({ startsInTime }) => startsInTime.map((at) => ({ at })))
    return {
      seed: plan.seed,
      seconds: (ended - began) / second,
      faults,
      processes: processes.length,
      starts: processes.reduce((sum, { starts }) => sum + starts.size, 0),
      // Times are rounded down to microseconds, so that two may be closer than they seem by one.
      mostInSecond: mostIn(starts, second + 1, () => 1),
      mostAtOnce: mostAtOnce(processes.flatMap(({ uses }) => uses)),
      stopped: freezes.length,
      told: freezes.filter(({ told }) => told).length,
      calls: alive().reduce((sum, { calls }) => sum + (calls ?? 0), 0),
      wrong: alive().flatMap(({ calls, wrong }) =>
        calls === undefined ? ["a process has not ended by itself", ...wrong] : wrong
      ),
      events
    }
  } finally {
    for (const { child, proxy } of processes) {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL")
      proxy.close()
    }
    await server.stop()
  }
}

/** Each fault, so that a short run has them all. */
export const everyFault: Plan["deck"] = {
  kill: 3,
  stop: 2,
  cut: 2,
  outage: 1,
  hold: 1,
  "script flush": 1,
  flush: 1,
  restart: 1,
  "crash of the server": 1,
  rollback: 1
}

/** Whether all has held that is promised. */
export const isKept = (plan: Plan, { mostAtOnce, mostInSecond, stopped, told, wrong }: Outcome): boolean =>
  mostInSecond <= plan.maxPerSecond && mostAtOnce <= plan.maxAtOnce && told === stopped && wrong.length === 0
