/**
 * `npm run bench`: runs suites of measurements, prints their tables, and saves them to `results.md` and `results.svg`.
 * The README shows some of them.
 *
 *     npm run bench                    all suites but the soak
 *     npm run bench -- pacing soak     these suites
 *     npm run bench -- --only amap     lines whose label contains this; printed, not saved
 *     npm run bench -- --quick         fewer tasks; printed, not saved
 *     node main.ts --smoke             fewest tasks, in a single process: checks that all runs and no limit is exceeded
 */
import { fork } from "node:child_process"
import { parseArgs } from "node:util"
import { runAll } from "@fibermeter/promise"
import { environment } from "./lib/environment.ts"
import { section, write } from "./lib/results.ts"
import type { Entry } from "./lib/results.ts"
import { writeSpeed } from "./lib/speed.ts"
import type { Line, Scale, Suite } from "./lib/suite.ts"
import { distributed } from "./suites/distributed.ts"
import { http } from "./suites/http.ts"
import { load } from "./suites/load.ts"
import { memory } from "./suites/memory.ts"
import { overload } from "./suites/overload.ts"
import { overhead } from "./suites/overhead.ts"
import { pacing } from "./suites/pacing.ts"
import { scaling } from "./suites/scaling.ts"
import { profiles } from "./suites/profile.ts"
import { size } from "./suites/size.ts"
import { soak } from "./suites/soak.ts"

const suites: ReadonlyArray<Suite<any>> = [
  load,
  size,
  http,
  overload,
  distributed,
  overhead,
  scaling,
  profiles,
  memory,
  pacing,
  soak
]

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    only: { type: "string" },
    // For the child processes of this program: one line, by its label.
    line: { type: "string" }
  }
})

const scale: Scale = values.smoke ? "smoke" : values.quick ? "quick" : "full"

const unknown = positionals.find((name) => !suites.some((suite) => suite.name === name))
if (unknown !== undefined) {
  throw new Error(`there is no suite ${unknown}. Known: ${suites.map(({ name }) => name).join(", ")}`)
}

if (values.line === undefined) await runSuites()
else
  await runLine(
    suites.find(({ name }) => name === positionals[0])!,
    values.line
  )

async function runSuites(): Promise<void> {
  const chosen = suites.filter((suite) =>
    positionals.length > 0 ? positionals.includes(suite.name) : suite !== soak || scale === "smoke"
  )
  const entries: Array<Entry> = []
  for (const suite of chosen) {
    const lines = suite.lines(scale).filter(({ label }) => label.includes(values.only ?? ""))
    if (lines.length === 0) continue
    const results = await measure(suite, lines)
    const entry = { suite: suite.name, environment: environment(), report: suite.report(results) }
    entries.push(entry)
    if (scale !== "smoke") console.log(`\n${section(entry)}\n`)
  }
  if (entries.length === 0) throw new Error("no line has that in its label")
  if (scale === "full" && values.only === undefined) {
    const files = write(
      entries,
      suites.map(({ name }) => name)
    )
    console.log(`Written: ${[...files, writeSpeed()].join(", ")}`)
  }
  const broken = entries.flatMap(({ report }) => report.broken)
  for (const promise of broken) console.error(`broken: ${promise}`)
  if (broken.length > 0) process.exitCode = 1
}

/** The results of the lines, in their order. Lines that leave the processor idle run side by side, the others alone. */
async function measure(suite: Suite<any>, lines: ReadonlyArray<Line<unknown>>): Promise<ReadonlyArray<unknown>> {
  const results = new Map<Line<unknown>, unknown>()
  const run = async (line: Line<unknown>): Promise<void> => {
    results.set(line, await (scale === "smoke" ? line.measure() : inChild(suite, line)))
    if (scale !== "smoke") console.error(`${suite.name} ${results.size}/${lines.length}: ${line.label}`)
  }
  // In a smoke test no figure counts, and what waits for a clock may all wait together.
  const beside = lines.filter(({ isLight }) => isLight === true || (scale === "smoke" && suite === pacing))
  const alone = lines.filter((line) => !beside.includes(line))
  await runAll(beside, run, { maxAtOnce: scale === "smoke" ? Infinity : 4 })
  await runAll(alone, run, { maxAtOnce: 1 })
  return lines.map((line) => results.get(line))
}

/** The result of a line, measured by a process of its own. */
function inChild(suite: Suite<any>, line: Line<unknown>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const args = [suite.name, "--line", line.label, ...(scale === "quick" ? ["--quick"] : [])]
    const child = fork(import.meta.filename, args)
    let result: { readonly value: unknown } | undefined
    child.on("message", (value) => (result = { value }))
    child.on("error", reject)
    child.on("exit", (code) => {
      if (code === 0 && result !== undefined) resolve(result.value)
      else
        reject(
          new Error(`${suite.name}: ${line.label} ended with ${code} and ${result === undefined ? "no" : "a"} result`)
        )
    })
  })
}

async function runLine(suite: Suite<any>, label: string): Promise<void> {
  const result = await suite
    .lines(scale)
    .find((line) => line.label === label)!
    .measure()
  // Run by hand, for a profile: `node --cpu-prof main.ts overhead --line "…"`.
  if (process.send === undefined) return console.log(result)
  // Limiters that were not waited for would continue.
  process.send(result, () => process.exit())
}
