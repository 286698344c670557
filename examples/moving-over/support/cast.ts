/**
 * The functions that the rows of the guide call: pages that take some time, one that fails, and a task that never ends.
 * And helpers for the tests of its claims.
 */
import { now, pass, setSystemClockBack, sleep, value } from "./time.ts"

export const ids = [1, 2, 3]

/** Page 1 takes 40 ms, page 2 takes 10, page 3 takes 20. */
export const getPage = async (id: number): Promise<string> => {
  await sleep([40, 10, 20][id - 1] ?? 0)
  return `page ${id}`
}

/** The results of `getPage` for `ids`. */
export const pages = ["page 1", "page 2", "page 3"]

export const failure = new Error("there is no page 2")

/** The same, but page 2 fails. */
export const flaky = async (id: number): Promise<string> => {
  const page = await getPage(id)
  if (id === 2) throw failure
  return page
}

/** A task that costs `points`. */
export const ask = async (points: number): Promise<string> => `${points} at ${now()} ms`

export const saved: Array<string> = []
export const save = (page: string): void => {
  saved.push(page)
}

/** Never ends, unless its signal is aborted. */
export const stalled = async ({ signal }: { readonly signal?: AbortSignal | undefined }): Promise<void> =>
  sleep(3_600_000, signal)

export const signal = AbortSignal.abort("no longer wanted")

/** Tasks that log what happens to them, and when: `"10: 2 fails"`. */
export const diary = () => {
  const log: Array<string> = []
  const begun = now()
  const note = (what: string): void => {
    log.push(`${now() - begun}: ${what}`)
  }
  /** A task that takes `ms`, and stops if its signal is aborted. */
  const task = async (id: number | string, ms: number, signal?: AbortSignal): Promise<string> => {
    note(`${id} starts`)
    const onAbort = (): void => note(`${id} is aborted`)
    signal?.addEventListener("abort", onAbort, { once: true })
    await sleep(ms, signal)
    signal?.removeEventListener("abort", onAbort)
    note(`${id} ends`)
    return `page ${id}`
  }
  /** A task that fails after `ms`. */
  const failing = async (id: number | string, ms: number): Promise<never> => {
    note(`${id} starts`)
    await sleep(ms)
    note(`${id} fails`)
    throw failure
  }
  return {
    log,
    note,
    task,
    failing,
    /** The lines of all starts, or of all ends. */
    lines: (what: "starts" | "ends") => log.filter((line) => line.endsWith(what)),
    /** The lines without their instants. */
    order: () => log.map((line) => line.replace(/^\d+: /, "")),
    /** The instants of the lines. */
    instants: () => log.map((line) => Number.parseInt(line, 10))
  }
}

/** Runs one task under a limit. */
type Runner = (task: () => Promise<void>) => Promise<unknown>

/** How many of five tasks run at once. */
export const mostAtOnce = async (run: Runner): Promise<number> => {
  let running = 0
  let most = 0
  const task = async (): Promise<void> => {
    most = Math.max(most, ++running)
    await sleep(10)
    running -= 1
  }
  await Promise.all([1, 2, 3, 4, 5].map(() => run(task)))
  return most
}

/** The start of each of six tasks, in milliseconds. */
export const starts = async (run: Runner): Promise<Array<number>> => {
  const begun = now()
  const all: Array<number> = []
  const task = async (): Promise<void> => {
    all.push(now() - begun)
  }
  await Promise.all([1, 2, 3, 4, 5, 6].map(() => run(task)))
  return all
}

/** The starts of one task and, after a pause of almost a second, five more. */
export const aroundTheEnd = async (run: Runner): Promise<Array<number>> => {
  const { instants, note } = diary()
  const task = async (): Promise<void> => note("start")
  void run(task)
  await pass(999)
  for (let i = 0; i < 5; i++) void run(task)
  await pass(10_000)
  return instants()
}

/** How long a second task waits if the system clock is set back by an hour after the first. */
export const waitWhenSetBack = async (run: Runner): Promise<number | undefined> => {
  await value(run(async () => {}))
  setSystemClockBack(3_600_000)
  // On the monotonic clock, which is not set back.
  const begun = performance.now()
  let waited: number | undefined
  void run(async () => {
    waited = performance.now() - begun
  })
  await pass(7_200_000)
  return waited
}
