/** The programs that the playground shows do what its picture shows. */
import { execFile } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
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

it("all programs type-check, as strictly as this project", async () => {
  const root = join(import.meta.dirname, "../..")
  const folder = join(root, "site/.programs/types")
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "tsconfig.json"), '{ "extends": "../../../tsconfig.json", "include": ["*.ts"] }')
  for (const [index, changes] of Object.values({ ...variants, ...ofPromisesAlone }).entries()) {
    for (const flavour of ["promise", "effect"] as const) {
      writeFileSync(join(folder, `${flavour}${index}.ts`), textOf(codeFor({ ...defaults, ...changes }, flavour)))
    }
  }
  const errors = await new Promise((resolve) => {
    execFile(join(root, "node_modules/.bin/tsc"), ["-p", folder], (error, stdout) =>
      resolve(error === null ? "" : stdout)
    )
  })
  expect(errors).toBe("")
})
