/** The progress line of the demo, and the table at its end. */

export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

export interface Progress extends Disposable {
  /** Runs a task and counts it. */
  readonly watch: <A>(task: () => Promise<A>) => Promise<A>
}

export const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`

/** The progress of a run: one line that is rewritten on a terminal, or else one line per second. */
export const showProgress = (title: string, total: number, output: Output = process.stdout): Progress => {
  const begun = performance.now()
  const starts: Array<number> = []
  let running = 0
  let done = 0

  const line = () => {
    const now = performance.now()
    const inLastSecond = starts.filter((start) => now - start < 1000).length
    const filled = Math.floor((24 * done) / total)
    return [
      title.padEnd(13),
      "█".repeat(filled).padEnd(24, "░"),
      `running ${String(running).padStart(2)}`,
      `done ${String(done).padStart(String(total).length)}/${total}`,
      `rate ${String(inLastSecond).padStart(2)}/s`,
      seconds(now - begun)
    ].join("  ")
  }
  const draw = output.isTTY
    ? // Cut to the width of the terminal, because a wrapped line cannot be rewritten.
      () => output.write(`\r${line().slice(0, (output.columns ?? 80) - 1)}\x1b[K`)
    : () => output.write(`${line()}\n`)
  const timer = setInterval(draw, output.isTTY ? 100 : 1000)

  return {
    async watch(task) {
      starts.push(performance.now())
      running++
      try {
        const result = await task()
        done++
        return result
      } finally {
        running--
      }
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      draw()
      if (output.isTTY) output.write("\n")
    }
  }
}

/** Formats rows as lines: the first column aligned left, the others right. */
export const alignTable = (rows: ReadonlyArray<ReadonlyArray<string | number>>): string => {
  const cells = rows.map((row) => row.map(String))
  const widthOf = (column: number) => Math.max(...cells.map((row) => row[column]?.length ?? 0))
  const align = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widthOf(0)) : cell.padStart(widthOf(column) + 3)
  return cells.map((row) => row.map(align).join("").trimEnd()).join("\n")
}
