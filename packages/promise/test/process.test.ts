/** What keeps a process alive: programs of their own. */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

describe("reports", () => {
  it("of an amap that is no longer read do not keep the process alive", { timeout: 20_000 }, async () => {
    const index = fileURLToPath(new URL("../src/index.ts", import.meta.url))
    const program = `
      import { amap } from ${JSON.stringify(index)}
      const results = amap([1, 2, 3], (n) => n, { maxAtOnce: 1, maxUnread: 1, onProgress: () => {} })
      await results.next()
      console.log("dropped")
    `
    const child = promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
      timeout: 15_000,
      cwd: fileURLToPath(new URL("..", import.meta.url))
    })
    expect((await child).stdout).toBe("dropped\n")
  })
})
