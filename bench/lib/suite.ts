/** What the suites are made of. */

/** `full` is what gets published; `quick` is for a first impression; `smoke` only shows that everything still runs. */
export type Scale = "full" | "quick" | "smoke"

/** One measurement. Each runs in a process of its own, so that no other has shaped its compiled code. */
export interface Line<out Result> {
  readonly label: string
  /** May run beside others of its kind: it leaves the processor idle most of the time. */
  readonly isLight?: boolean
  readonly measure: () => Promise<Result>
}

export interface Suite<Result> {
  readonly name: string
  readonly lines: (scale: Scale) => ReadonlyArray<Line<Result>>
  /** Formats the results, which are in the order of the lines. */
  readonly report: (results: ReadonlyArray<Result>) => Report
}

export interface Report {
  readonly title: string
  readonly notes: ReadonlyArray<string>
  readonly tables: ReadonlyArray<Table>
  readonly charts: ReadonlyArray<Chart>
  /** Promises that were not kept: not slowness, but a limit that was exceeded. */
  readonly broken: ReadonlyArray<string>
}

export interface Table {
  readonly title?: string
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

export interface Chart {
  readonly title: string
  /** Where the axis ends; longer bars are cut off and say so. */
  readonly end: number
  readonly format: "ratio" | "percent" | "millis" | "bytes"
  readonly bars: ReadonlyArray<Bar>
}

export interface Bar {
  readonly label: string
  readonly value: number
  readonly low?: number
  readonly high?: number
  /** What was to be reached, drawn as a mark. */
  readonly target?: number
  readonly isGood: boolean
  /** Of another library. */
  readonly isPeer?: boolean
}
