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
    projects: [
      { extends: true, test: { name: "published fibermeter", include: ["packages/fibermeter/test/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "published promise",
          include: ["packages/promise/test/**/*.test.ts"],
          exclude: looksInside().map((file) => `packages/promise/test/${file}`)
        }
      }
    ]
  }
})
