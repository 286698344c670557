/** The client of a language model, as a process of its own, over HTTP. The test has the mock of the model. */
import { execFile } from "node:child_process"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { afterEach, expect, it } from "vitest"
import { MockModel } from "./server.ts"
import type { Quotas } from "./server.ts"

const main = fileURLToPath(new URL("main.ts", import.meta.url))

let model: MockModel

/** What the program prints that asks so many questions. It must exit with 0. The quotas are reset every two seconds. */
const run = async (questions: number, limits: Quotas, others?: Quotas, refuseFirst?: number): Promise<string> => {
  model = new MockModel(limits, 2000, others)
  model.refuseNext = refuseFirst
  await once(model.server.listen(0, "127.0.0.1"), "listening")
  const { port } = model.server.address() as AddressInfo
  const env = {
    MODEL_URL: `http://127.0.0.1:${port}`,
    MODEL_REQUESTS: String(limits.requests),
    MODEL_TOKENS: String(limits.tokens),
    MODEL_PER: "2 seconds"
  }
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [main, String(questions)], { env, timeout: 50_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${error.message}\n${stderr}`))
    })
  })
}

afterEach(async () => {
  model.server.closeAllConnections()
  model.server.close()
  await once(model.server, "close")
})

const printed = (questions: number): string =>
  [
    'The answer to "Are you there?".',
    `${questions} answers, the last one: The answer to "What is the square of ${questions - 1}?".`,
    'The answer to "Tell me a story.".',
    ""
  ].join("\n")

it("answers more questions than a window allows: the others in the next one", async () => {
  expect(await run(40, { requests: 30, tokens: 5000 })).toBe(printed(40))
  expect(model.answered[200]).toBe(42)
})

// How many requests are refused here depends on the machine: those that are on their way when the server begins a new window,
// of which others use most at once. The tests of `reconcile` count refusals on virtual time.
it("has all questions answered, though others use most of the requests", async () => {
  // Five requests in each window: the first one and four questions, then four questions and the story.
  expect(await run(8, { requests: 100, tokens: 100_000 }, { requests: 95, tokens: 0 })).toBe(printed(8))
  expect(model.answered[200]).toBe(10)
})

it("has all questions answered, though others use most of the tokens", async () => {
  // The longest answers to five questions fit at a time.
  expect(await run(20, { requests: 100, tokens: 100_000 }, { requests: 0, tokens: 98_900 })).toBe(printed(20))
  expect(model.answered[200]).toBe(22)
})

it("after a 429, waits for as long as Retry-After says, and asks again", async () => {
  expect(await run(3, { requests: 100, tokens: 100_000 }, undefined, 0.7)).toBe(printed(3))
  expect(model.answered).toEqual({ 200: 5, 429: 1 })
  const [first, second] = model.arrivals
  expect(second! - first!).toBeGreaterThanOrEqual(700)
})
