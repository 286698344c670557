/** The tests of both packages on what is published of them. `scripts/check.ts` says where that is. */
import { join } from "node:path"
import { defineConfig } from "vitest/config"
import base from "../vitest.workspace.ts"
import { looksInside, onPublished } from "./published.ts"

const root = join(import.meta.dirname, "..")
const folder = process.env["FIBERMETER_PUBLISHED"]
if (folder === undefined) throw new Error("FIBERMETER_PUBLISHED has to name the folder with what is published")
const published = { fibermeter: join(folder, "fibermeter"), promise: join(folder, "promise") }
const { coverage: _, projects: _projects, ...test } = base.test!

export default defineConfig({
  root,
  plugins: [onPublished(published)],
  test: {
    ...test,
    projects: (["fibermeter", "promise"] as const).map((name) => ({
      extends: true as const,
      test: {
        name: `published ${name}`,
        include: [`packages/${name}/test/**/*.test.ts`],
        exclude: looksInside(name).map((file) => `packages/${name}/test/${file}`)
      }
    }))
  }
})
