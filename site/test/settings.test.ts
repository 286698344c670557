/** The form, the URL and the programs follow the settings. */
import { describe, expect, it } from "vitest"
import { codeFor, textOf } from "../playground/code.ts"
import { applies, controls, defaults, fromQuery, toQuery, withText } from "../playground/settings.ts"
import { changes } from "./support/changes.ts"
import { simulate } from "../playground/simulate.ts"

describe("a URL", () => {
  it("is empty for the defaults", () => {
    expect(toQuery(defaults)).toBe("")
    expect(fromQuery("")).toEqual(defaults)
  })

  it.each(Object.entries(changes))("holds %s", (key, { base, text }) => {
    const control = controls.find((each) => each.key === key)!
    const settings = withText({ ...defaults, ...base }, control, text)
    expect(fromQuery(toQuery(settings))).toEqual(settings)
  })

  it("with values that no control accepts gives the nearest, or the defaults", () => {
    expect(fromQuery("tasks=99999&maxPerSecond=2.4999&verb=explode&mean=&seed=NaN&unknown=1")).toEqual({
      ...defaults,
      tasks: 2000,
      maxPerSecond: 2.5
    })
  })
})

describe("each control", () => {
  it("has a change that is tested", () => {
    expect(Object.keys(changes).sort()).toEqual(controls.map(({ key }) => key).sort())
  })

  it.each(Object.entries(changes))("changes what is recorded and both programs: %s", async (key, { base, text }) => {
    const control = controls.find((each) => each.key === key)!
    const before = { ...defaults, ...base }
    const after = withText(before, control, text)
    expect(applies(control, before)).toBe(true)
    expect(await simulate("fibermeter", after)).not.toEqual(await simulate("fibermeter", before))
    for (const flavour of ["promise", "effect"] as const) {
      expect(textOf(codeFor(after, flavour))).not.toBe(textOf(codeFor(before, flavour)))
    }
  })
})
