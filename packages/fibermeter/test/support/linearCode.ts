/** Runs a program that counts how often its code runs (see `countWork.ts`). */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect } from "vitest"

/** Fails unless ten times as many tasks run about ten times as much code, in each scenario of the program. */
export const expectLinearCode = async (program: URL): Promise<void> => {
  const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(program), "300", "3000"])
  const counts = Object.entries(JSON.parse(stdout) as Record<string, [number, number]>)
  expect(counts.length).toBeGreaterThan(10)
  for (const [name, [one, ten]] of counts) {
    expect(one, name).toBeGreaterThan(300)
    // Code that runs for each of the others would run a hundred times as often. The rest, such as the work of a heap and
    // what the engine of JavaScript does not count before it has compiled a function, is below twice the proportion.
    expect(ten / one, `${name}: ${one}, and ${ten} for ten times as many`).toBeLessThan(20)
  }
}
