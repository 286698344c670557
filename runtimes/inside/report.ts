/** What a host says of its run. It has to survive `JSON`. */
export interface Report {
  /** What the host calls itself. */
  readonly host: string
  readonly tests: ReadonlyArray<TestReport>
  /** What is wrong with the run itself, beyond its tests. */
  readonly problems: ReadonlyArray<string>
  /** By the host's own clock. */
  readonly seconds: number
}

export interface TestReport {
  readonly file: string
  readonly name: string
  readonly state: "pass" | "fail" | "skip"
  readonly errors: ReadonlyArray<string>
}

/** Where the report begins in what a program prints. */
export const mark = "@@report "
