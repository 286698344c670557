import type { Report } from "../inside/report.ts"

/** Something that can load the bundle and run it. */
export interface Host {
  /** Its name in the list of what is left out. */
  readonly name: string
  /** How what it calls itself has to begin: that it is the one that was meant. */
  readonly self: string
  /** Its version, where it does not tell itself. */
  readonly version?: () => string
  /** What it runs, if it does not run the tests in the bundle. */
  readonly tests?: ReadonlyArray<{ readonly file: string; readonly name: string }>
  /** Loads the bundle at this path and runs it. Has to end by itself once the signal aborts. */
  readonly run: (bundle: string, signal: AbortSignal) => Promise<Report>
}
