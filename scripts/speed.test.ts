/** The README's figures are those that were measured. */
import { readFileSync } from "node:fs"
import { expect, it } from "vitest"
import { withSpeed } from "../bench/lib/speed.ts"

it("the README shows the figures that `npm run bench` has kept", () => {
  const text = readFileSync(new URL("../README.md", import.meta.url), "utf8")
  expect(text).toMatch(/\| `runAll` +\| p-map +\| +0\.\d+/)
  expect(withSpeed(text)).toBe(text)
})
