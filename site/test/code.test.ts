/** The programs that the playground shows do what its picture shows. */
import { expect, it } from "vitest"
import { codeFor, textOf } from "../playground/code.ts"
import type { Flavour } from "../playground/code.ts"
import { defaults } from "../playground/settings.ts"
import type { Settings } from "../playground/settings.ts"
import { simulate } from "../playground/simulate.ts"
import { startsOf } from "./support/runCopied.ts"
import { ofPromisesAlone, variants } from "./support/variants.ts"

const expectSameStarts = async (flavour: Flavour, all: Readonly<Record<string, Partial<Settings>>>): Promise<void> => {
  const settings = Object.values(all).map((each) => ({ ...defaults, ...each }))
  const copied = await startsOf(
    settings.map((each) => textOf(codeFor(each, flavour))),
    flavour
  )
  for (const [index, name] of Object.keys(all).entries()) {
    const { attempts } = await simulate("fibermeter", settings[index]!)
    expect.soft(copied[index], name).toEqual(attempts.map(({ from, task }) => ({ at: from, task })))
  }
}

it("code for promises starts its requests at the instants of the picture", async () => {
  await expectSameStarts("promise", { ...variants, ...ofPromisesAlone })
})

it("code for Effect starts its requests at the instants of the picture", async () => {
  await expectSameStarts("effect", variants)
})
