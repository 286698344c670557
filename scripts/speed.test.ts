/** The README's figures are the measured ones. */
import { readFileSync } from "node:fs"
import { expect, it } from "vitest"
import { kept } from "../bench/lib/results.ts"
import { withSpeed } from "../bench/lib/speed.ts"
import { summary } from "../bench/lib/summary.ts"

it("the README shows the figures that `npm run bench` has kept", () => {
  const text = readFileSync(new URL("../README.md", import.meta.url), "utf8")
  expect(text).toMatch(/\| `runAll` +\| p-map +\| +0\.\d+/)
  expect(text).toMatch(/\| @fibermeter\/promise +\| \d+\.?\d* ms +\|/)
  expect(withSpeed(text)).toBe(text)
})

it("the chart of the README is made of the same figures", () => {
  expect(summary(kept())).toBe(readFileSync(new URL("../bench/summary.svg", import.meta.url), "utf8"))
})
