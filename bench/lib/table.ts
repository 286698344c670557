/** Tables, as Markdown that is aligned: for a file and for a terminal alike. */
import type { Table } from "./suite.ts"

export const markdown = ({ columns, rows }: Table): string => {
  const widths = columns.map((column, i) => Math.max(3, column.length, ...rows.map((row) => row[i]!.length)))
  const line = (cells: ReadonlyArray<string>): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  return [line(columns), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n")
}
