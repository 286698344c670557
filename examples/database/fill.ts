/**
 * Fills a table from a CSV file of any length, a few batches at once. How far it has come is stored in the database, so that
 * the next run continues after a failure.
 *
 *     node fill.ts people.csv people.db
 *     node fill.ts people.csv postgres://localhost/people
 */
import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import { amap } from "@fibermeter/promise"
import { type Database, openPostgres, openSqlite, type Row } from "./databases.ts"

const batchSize = 1000

interface Batch {
  readonly rows: ReadonlyArray<Row>
  /** The number of the last row, counted from 1. */
  readonly last: number
}

const parse = (line: string, number: number): Row => {
  const [id, name, amount] = line.split(",")
  if (name === undefined || !Number.isInteger(Number(id)) || !Number.isFinite(Number(amount ?? NaN))) {
    throw new Error(`row ${number} is no person: ${line}`)
  }
  return { id: Number(id), name, amount: Number(amount) }
}

/** The rows of a file after the first so many. The file is read as fast as the batches are needed. */
async function* batchesOf(file: string, done: number): AsyncGenerator<Batch> {
  let rows: Array<Row> = []
  // The first line is the header.
  let number = -1
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (++number === 0 || number <= done) continue
    rows.push(parse(line, number))
    if (rows.length < batchSize) continue
    yield { rows, last: number }
    rows = []
  }
  if (rows.length > 0) yield { rows, last: number }
}

const fill = async (file: string, database: Database): Promise<void> => {
  let done = await database.progress()
  if (done > 0) console.log(`continues after row ${done}`)
  const insert = async ({ last, rows }: Batch) => {
    await database.insert(rows)
    return last
  }
  // In the order of the file: when a result comes, all batches before it are in the table, too. After a failure, those that
  // were further are inserted again. The database must not be closed while they are being inserted, hence `grace`.
  const results = amap(batchesOf(file, done), insert, { maxAtOnce: 4, ordered: true, grace: "10 seconds" })
  try {
    for await (done of results) await database.saveProgress(done)
  } finally {
    console.log(`${done} rows`)
  }
}

const [file = "people.csv", target = "people.db"] = process.argv.slice(2)
await using database = await (target.startsWith("postgres:") ? openPostgres(target) : openSqlite(target))
await fill(file, database).catch((error: Error) => {
  console.error(error.message)
  process.exitCode = 1
})
