/** What needs a process of its own: what keeps it alive, and where its stack ends. */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const index = fileURLToPath(new URL("../src/index.ts", import.meta.url))

/** What a program prints. */
const run = async (program: string): Promise<string> => {
  const child = promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
    timeout: 50_000,
    maxBuffer: 100_000_000,
    cwd: fileURLToPath(new URL("..", import.meta.url))
  })
  return (await child).stdout
}

describe("reports", () => {
  it("of an amap that is no longer read do not keep the process alive", async () => {
    const program = `
      import { amap } from ${JSON.stringify(index)}
      const results = amap([1, 2, 3], (n) => n, { maxAtOnce: 1, maxUnread: 1, onProgress: () => {} })
      await results.next()
      console.log("dropped")
    `
    expect(await run(program)).toBe("dropped\n")
  })
})

describe("a stack that overflows at any depth within a call leaves no permit taken", () => {
  it.each([
    ["run", "meter.run(() => 1)"],
    ["run with retries", "meter.run(() => 1, { retry: { times: 1, delay: 0 } })"],
    ["run with a signal", "meter.run(() => 1, { signal: new AbortController().signal })"],
    ["run of a task that takes time", "meter.run(async () => 1)"],
    ["runOnEach", "runOnEach([1], () => 1, { meter })"],
    ["runAll", "runAll([() => 1], { meter })"],
    ["runAll of tasks that take time", "runAll([async () => 1], { meter })"],
    ["runAny", "runAny([() => 1], { meter })"]
  ])("%s", async (_, call) => {
    const program = `
      import { createMeter, runAll, runAny, runOnEach } from ${JSON.stringify(index)}
      // V8 drops the promise of a rejection that finds no room on the stack.
      process.on("unhandledRejection", () => {})
      const counts = { overflowed: 0, fulfilled: 0, taken: 0 }
      const tasks = () => new Promise((resolve) => setTimeout(resolve))
      const descend = (levels, f) => { if (levels > 0) descend(levels - 1, f); else f() }
      const fits = (levels) => { try { descend(levels, () => {}); return true } catch { return false } }
      const deepest = () => {
        let [low, high] = [0, 50_000]
        while (high - low > 1) {
          const middle = (low + high) >> 1
          if (fits(middle)) low = middle
          else high = middle
        }
        return low
      }
      for (let room = 0; room < 900; room += room < 150 ? 3 : 30) {
        const meter = createMeter({ maxAtOnce: 3 })
        const levels = deepest() - room
        let promise
        try { descend(levels, () => { promise = ${call} }) } catch { counts.overflowed++ }
        promise?.then(() => counts.fulfilled++, () => counts.overflowed++)
        await tasks()
        await tasks()
        const { running, waiting } = meter.snapshot()
        if (running + waiting > 0) counts.taken++
      }
      console.log(JSON.stringify(counts))
    `
    const { fulfilled, overflowed, taken } = JSON.parse(await run(program)) as Record<string, number>
    expect(taken).toBe(0)
    expect(overflowed).toBeGreaterThan(5)
    expect(fulfilled).toBeGreaterThan(5)
  })
})
