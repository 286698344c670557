/** The program, in a process of its own: 200,000 rows, a failure on the way, and a second run that continues. */
import { spawn } from "node:child_process"
import { createWriteStream, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { text } from "node:stream/consumers"
import { pipeline } from "node:stream/promises"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { hasPostgres, startCluster } from "./cluster.ts"

const rows = 200_000
const broken = 150_500

const folder = mkdtempSync(join(tmpdir(), "fibermeter-fill-"))
const [whole, damaged] = [join(folder, "whole.csv"), join(folder, "damaged.csv")]

function* linesOf(badRow?: number) {
  yield "id,name,amount\n"
  for (let id = 1; id <= rows; id++) yield id === badRow ? `${id};person\n` : `${id},person ${id},${id / 2}\n`
}

beforeAll(async () => {
  await pipeline(Readable.from(linesOf()), createWriteStream(whole))
  await pipeline(Readable.from(linesOf(broken)), createWriteStream(damaged))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fill = async (file: string, target: string) => {
  const program = fileURLToPath(new URL("fill.ts", import.meta.url))
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, file, target])
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { code: await exited, lines: stdout.trimEnd().split("\n"), errors: stderr }
}

/** Fills the table from the damaged file, as far as possible, and then from the whole one. */
const fillTwice = async (target: string, isThere: (upTo: number) => Promise<boolean>) => {
  const first = await fill(damaged, target)
  expect(first).toMatchObject({ code: 1, errors: `row ${broken} is no person: ${broken};person\n` })
  const done = Number(/^(\d+) rows$/.exec(first.lines.at(-1)!)![1])
  // When the row was read, `maxUnread` batches at most, which is 8, had been started and not yet been read by the loop that
  // records them: four may be running, and others wait for the first of these, or for the loop while it records.
  expect(done).toBeLessThanOrEqual(150_000)
  expect(done).toBeGreaterThanOrEqual(150_000 - 8 * 1000)
  expect(await isThere(done), "what is recorded is in the table").toBe(true)
  expect(await fill(whole, target)).toEqual({
    code: 0,
    lines: [`continues after row ${done}`, `${rows} rows`],
    errors: ""
  })
  expect(await fill(whole, target), "there is nothing left to do").toMatchObject({
    lines: [`continues after row ${rows}`, `${rows} rows`]
  })
}

const sum = "SELECT count(*) AS rows, sum(amount) AS amount FROM people"
const all = { rows, amount: (rows * (rows + 1)) / 4 }

it("SQLite: every row is in the table once, though the first run has failed", async () => {
  const path = join(folder, "people.db")
  const ask = (query: string): unknown => {
    const database = new DatabaseSync(path)
    const answer = database.prepare(query).get()
    database.close()
    return answer
  }
  const count = (upTo: number) => `SELECT count(*) AS rows FROM people WHERE id <= ${upTo}`
  await fillTwice(path, async (upTo) => (ask(count(upTo)) as { rows: number }).rows === upTo)
  expect(ask(sum)).toEqual(all)
})

const remark = hasPostgres ? "" : " (left out, since PostgreSQL is not installed: apt-get install postgresql)"

describe(`PostgreSQL${remark}`, () => {
  it("is installed in CI", () => {
    expect(hasPostgres || process.env["CI"] === undefined).toBe(true)
  })

  it.runIf(hasPostgres)("every row is in the table once, though the first run has failed", async () => {
    await using cluster = await startCluster()
    const client = new pg.Client(cluster.url)
    await client.connect()
    // Before the cluster.
    await using _ = { [Symbol.asyncDispose]: () => client.end() }
    const ask = async (query: string): Promise<unknown> => (await client.query(query)).rows[0]
    const count = (upTo: number) => `SELECT count(*)::integer AS rows FROM people WHERE id <= ${upTo}`
    await fillTwice(cluster.url, async (upTo) => ((await ask(count(upTo))) as { rows: number }).rows === upTo)
    expect(await ask(sum.replace("count(*)", "count(*)::integer"))).toEqual(all)
  })
})
