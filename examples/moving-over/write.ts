/** `node examples/moving-over/write.ts` updates `docs/moving-over.md` from the tests in this folder. */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { guide, updated } from "./support/guide.ts"

writeFileSync(guide, updated(readFileSync(guide, "utf8")))
execFileSync(fileURLToPath(new URL("../../node_modules/.bin/oxfmt", import.meta.url)), [fileURLToPath(guide)])
