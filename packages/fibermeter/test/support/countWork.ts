/** Counts how often code runs, by the precise coverage of V8, and prints the counts. For programs of their own. */
import { Session } from "node:inspector/promises"

/**
 * Runs each scenario with each of the numbers that the program was started with, and prints the counts as JSON. Each scenario
 * runs once before, so that what is done only the first time is not counted.
 */
export const countWork = async <A>(
  scenarios: Readonly<Record<string, (count: number) => A>>,
  run: (scenario: A) => Promise<unknown>
): Promise<void> => {
  const session = new Session()
  session.connect()
  await session.post("Profiler.enable")
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true })

  const countOf = async (scenario: A): Promise<number> => {
    await session.post("Profiler.takePreciseCoverage")
    await run(scenario)
    const { result } = await session.post("Profiler.takePreciseCoverage")
    let sum = 0
    for (const { functions } of result) {
      for (const { ranges } of functions) for (const { count } of ranges) sum += count
    }
    return sum
  }

  const sizes = process.argv.slice(2).map(Number)
  const counts: Record<string, Array<number>> = {}
  for (const [name, scenario] of Object.entries(scenarios)) {
    await countOf(scenario(10))
    counts[name] = []
    for (const size of sizes) counts[name].push(await countOf(scenario(size)))
  }
  console.log(JSON.stringify(counts))
}
