/**
 * What a program pays before its first task: the time and the memory of the import, and what an install brings. Packages
 * are installed by npm from their tarballs, each in a project of its own. Programs run in turns, so that whatever
 * disturbs the machine disturbs all of them.
 */
import { execFile } from "node:child_process"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { environment } from "../lib/environment.ts"
import * as format from "../lib/format.ts"
import { build, install, installed, pack, withScratch } from "../lib/packed.ts"
import type { Installed } from "../lib/packed.ts"
import { median, spreadOf } from "../lib/stats.ts"
import type { Spread } from "../lib/stats.ts"
import type { Bar, Scale, Suite } from "../lib/suite.ts"

interface Loaded {
  readonly name: string
  /** Milliseconds, bytes: what it adds to a program without that import, round by round. */
  readonly time: Spread
  readonly cpu: Spread
  readonly memory: Spread
  /** None where the program needs the other packages anyway. */
  readonly installed: Installed | null
}

const rounds = { full: 41, quick: 9, smoke: 1 } as const

const facade = "@fibermeter/promise"
const peers = ["p-map", "p-limit", "p-queue", "p-throttle", "bottleneck"] as const

/** What has to be reached, in milliseconds, bytes and packages. */
const reach = { overPQueue: 2, memory: 3_000_000, bytes: 500_000, packages: 1, core: 15 }

const execute = promisify(execFile)

/** A program that imports a module, whose cost counts, after those that it needs anyway. */
interface Program {
  readonly project: string
  readonly module: string
  readonly before?: ReadonlyArray<string>
}

interface Cost {
  readonly time: number
  readonly cpu: number
  readonly memory: number
}

/** The start and the end of the process, of which the machine's other work has most to say, do not count. */
const codeOf = ({ before = [], module }: Program): string => `
${before.map((name) => `import ${JSON.stringify(name)}`).join("\n")}
const memory = process.memoryUsage.rss()
const cpu = process.cpuUsage()
const time = performance.now()
await import(${JSON.stringify(module)})
const taken = performance.now() - time
const { system, user } = process.cpuUsage(cpu)
console.log(JSON.stringify({ time: taken, cpu: (system + user) / 1000, memory: process.memoryUsage.rss() - memory }))
`

const empty = "./empty.js"

const write = async (name: string, program: Program): Promise<string> => {
  const file = join(program.project, `${name}.js`)
  await writeFile(join(program.project, empty), "")
  await writeFile(file, codeOf(program))
  return file
}

const run = async (file: string): Promise<Cost> => JSON.parse((await execute(process.execPath, [file])).stdout) as Cost

/** What each program takes more than the first, whose module is empty. */
const overFirst = async (
  scale: Scale,
  programs: ReadonlyArray<Program>
): Promise<ReadonlyArray<Omit<Loaded, "name" | "installed">>> => {
  const files = await Promise.all(programs.map((program, i) => write(`program-${i}`, program)))
  const costs: ReadonlyArray<Array<Cost>> = files.map(() => [])
  for (let round = -1; round < rounds[scale]; round++) {
    // Each begins a round in its turn.
    for (const [i] of files.entries()) {
      const which = (i + round + files.length) % files.length
      const cost = await run(files[which]!)
      // The first round fills the caches of the disk.
      if (round >= 0) costs[which]!.push(cost)
    }
  }
  const [base, ...others] = costs
  const more = (these: ReadonlyArray<Cost>, what: keyof Cost): Spread => {
    const differences = these.map((cost, round) => cost[what] - base![round]![what])
    const middle = median(these.map((cost) => cost[what])) - median(base!.map((cost) => cost[what]))
    return { ...spreadOf(differences), median: middle }
  }
  return others.map((these) => ({
    time: more(these, "time"),
    cpu: more(these, "cpu"),
    memory: more(these, "memory")
  }))
}

const measurePromises = (scale: Scale): Promise<ReadonlyArray<Loaded>> =>
  withScratch(async (folder) => {
    await build()
    const { versions } = environment()
    const all: ReadonlyArray<readonly [name: string, what: string]> = [
      [facade, await pack("promise", folder)],
      ...peers.map((name) => [name, versions[name]!] as const)
    ]
    const programs: Array<Program> = [{ project: folder, module: empty }]
    const sizes: Array<Installed> = []
    for (const [name, what] of all) {
      const project = join(folder, String(programs.length))
      await install(project, { [name]: what })
      sizes.push(await installed(project))
      programs.push({ project, module: name })
    }
    await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
    const costs = await overFirst(scale, programs)
    return costs.map((cost, i) => ({ name: all[i]![0], ...cost, installed: sizes[i]! }))
  })

const measureCore = (scale: Scale): Promise<ReadonlyArray<Loaded>> =>
  withScratch(async (folder) => {
    await build()
    const project = join(folder, "core")
    await install(project, { effect: environment().versions["effect"]!, fibermeter: await pack("fibermeter", folder) })
    const before = ["effect/Effect", "effect/Stream"]
    const programs = [empty, "fibermeter"].map((module) => ({ project, module, before }))
    const [cost] = await overFirst(scale, programs)
    return [{ name: "fibermeter", ...cost!, installed: null }]
  })

export const load: Suite<ReadonlyArray<Loaded>> = {
  name: "load",
  lines: (scale) => [
    { label: "promise and peers", measure: () => measurePromises(scale) },
    { label: "core over effect/Effect and effect/Stream", measure: () => measureCore(scale) }
  ],
  report: (results) => {
    const all = results.flat()
    return {
      title: "Load: the cost of an import and of an install",
      notes: [
        `Each package is installed by npm from its packed tarball into its own project. Time, CPU time and memory (RSS) are those of the import in its own process, minus those of an empty module. ${rounds.full} interleaved rounds: the difference of the medians, with the minimum and maximum of all rounds.`,
        "`fibermeter`: in a program that has already imported `effect/Effect` and `effect/Stream`."
      ],
      tables: [
        {
          columns: ["import of", "time", "CPU time", "memory", "packages", "installed", "target", ""],
          rows: all.map((loaded) => {
            const goal = goalOf(loaded, all)
            return [
              loaded.name,
              format.spread(loaded.time, format.millis),
              format.spread(loaded.cpu, format.millis),
              format.spread(loaded.memory, format.megabytes),
              loaded.installed === null ? "–" : String(loaded.installed.packages),
              loaded.installed === null ? "–" : format.kilobytes(loaded.installed.bytes),
              goal?.text ?? "–",
              goal === undefined ? "" : goal.isReached ? "reached" : "missed"
            ]
          })
        }
      ],
      charts: [
        chart("Import, over an empty process", "millis", all, ({ time }) => time),
        chart("npm install", "bytes", all, ({ installed }) =>
          installed === null ? undefined : { median: installed.bytes, min: installed.bytes, max: installed.bytes }
        )
      ],
      broken: []
    }
  }
}

interface Goal {
  readonly text: string
  readonly isReached: boolean
}

const goalOf = (loaded: Loaded, all: ReadonlyArray<Loaded>): Goal | undefined => {
  if (loaded.name === "fibermeter") {
    return { text: `≤ ${reach.core} ms`, isReached: loaded.time.median <= reach.core }
  }
  if (loaded.name !== facade || loaded.installed === null) return undefined
  const of = (name: string): number => all.find((other) => other.name === name)!.time.median
  const most = Math.min(of("p-queue") + reach.overPQueue, of("bottleneck"))
  const { bytes, packages } = loaded.installed
  return {
    text: `≤ ${format.millis(most)}, ${format.megabytes(reach.memory)}, ${reach.packages} package, ${format.kilobytes(reach.bytes)}`,
    isReached:
      loaded.time.median <= most &&
      loaded.memory.median <= reach.memory &&
      packages <= reach.packages &&
      bytes <= reach.bytes
  }
}

const chart = (
  title: string,
  unit: "millis" | "bytes",
  all: ReadonlyArray<Loaded>,
  valueOf: (loaded: Loaded) => Spread | undefined
) => {
  const bars = all
    .filter(({ name }) => name !== "fibermeter")
    .flatMap((loaded): ReadonlyArray<Bar> => {
      const value = valueOf(loaded)
      if (value === undefined) return []
      const isPeer = loaded.name !== facade
      const { max: high, median, min: low } = value
      return [{ label: loaded.name, value: median, low: Math.max(0, low), high, isGood: true, isPeer }]
    })
  return { title, end: Math.max(...bars.map(({ value }) => value)) * 1.2, format: unit, bars }
}
