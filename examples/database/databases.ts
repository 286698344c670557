/** The two databases of the example. */
import { DatabaseSync } from "node:sqlite"
import pg from "pg"

export interface Row {
  readonly id: number
  readonly name: string
  readonly amount: number
}

export interface Database extends AsyncDisposable {
  /** Inserts rows in one transaction. Rows that are there already are left as they are. */
  readonly insert: (rows: ReadonlyArray<Row>) => Promise<void>
  /** How many rows of the file are in the table for certain. */
  readonly progress: () => Promise<number>
  readonly saveProgress: (rows: number) => Promise<void>
}

const schema = `
  CREATE TABLE IF NOT EXISTS people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount DOUBLE PRECISION NOT NULL);
  CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY, done INTEGER NOT NULL);
  INSERT INTO progress VALUES (1, 0) ON CONFLICT DO NOTHING;
`

export const openSqlite = async (path: string): Promise<Database> => {
  const database = new DatabaseSync(path)
  // Each commit appends to a log, which is much faster than to wait for the disk.
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
  database.exec(schema)
  const insert = database.prepare("INSERT INTO people VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
  const progress = database.prepare("SELECT done FROM progress")
  const saveProgress = database.prepare("UPDATE progress SET done = ?")
  return {
    insert: async (rows) => {
      database.exec("BEGIN")
      try {
        for (const { amount, id, name } of rows) insert.run(id, name, amount)
        database.exec("COMMIT")
      } catch (error) {
        database.exec("ROLLBACK")
        throw error
      }
    },
    progress: async () => Number(progress.get()!["done"]),
    saveProgress: async (rows) => void saveProgress.run(rows),
    [Symbol.asyncDispose]: async () => database.close()
  }
}

export const openPostgres = async (url: string): Promise<Database> => {
  const pool = new pg.Pool({ connectionString: url })
  await pool.query(schema)
  // One statement with an array for each column, so it has three parameters, however many rows there are.
  const insert = `INSERT INTO people SELECT * FROM unnest($1::integer[], $2::text[], $3::float8[]) ON CONFLICT DO NOTHING`
  return {
    insert: async (rows) => {
      const columns = [rows.map(({ id }) => id), rows.map(({ name }) => name), rows.map(({ amount }) => amount)]
      await pool.query(insert, columns)
    },
    progress: async () => (await pool.query<{ done: number }>("SELECT done FROM progress")).rows[0]!.done,
    saveProgress: async (rows) => void (await pool.query("UPDATE progress SET done = $1", [rows])),
    [Symbol.asyncDispose]: () => pool.end()
  }
}
