/**
 * The stack of an error that is created for the end of a call leads to the line that made the call. How a stack looks, and
 * whether it continues across an `await`, is the engine's: this is for Node.
 */
import { basename } from "node:path"
import { expect, it } from "vitest"
import { createMeter, runAll, runAny, runOnEach } from "../src/index.ts"

const fails = async (n: number): Promise<never> => {
  await new Promise((resolve) => setImmediate(resolve))
  throw new Error(`${n}`)
}

const calls: ReadonlyArray<readonly [name: string, call: () => Promise<unknown>]> = [
  ["runAny over items", () => runAny([1, 2], fails)],
  ["runAny over functions", () => runAny([() => fails(1)])],
  ["runAny without tasks", () => runAny([])],
  ["runAny of a meter", () => createMeter({ maxAtOnce: 1 }).runAny([1, 2], fails)],
  ["runAll with stopOnError: false", () => runAll([1, 2], fails, { stopOnError: false })],
  ["runAll over a record", () => runAll({ a: () => fails(1) }, { stopOnError: false })],
  ["runOnEach with stopOnError: false", () => runOnEach([1, 2], fails, { stopOnError: false })]
]

it.each(calls)("%s", async (_, call) => {
  const theCaller = async (): Promise<unknown> => await call()
  const error: unknown = await theCaller().catch((error: unknown) => error)
  expect(error).toBeInstanceOf(AggregateError)
  expect((error as AggregateError).stack).toMatch(/at (async )?theCaller \(/)
  const line = (error as AggregateError).stack!.split("\n").find((each) => each.includes("theCaller"))
  expect(line).toContain(`${basename(import.meta.filename)}:`)
})
