/**
 * A timer that does not keep the process alive. In Node and Bun a timer has `unref`, Deno has a function for it, and
 * elsewhere timers keep nothing alive.
 */

interface Timers {
  readonly setTimeout: (f: () => void, millis: number) => number | { readonly unref?: () => void }
  readonly clearTimeout: (timer: unknown) => void
  readonly Deno?: { readonly unrefTimer?: (timer: unknown) => void }
}

/** Calls `f` after so many milliseconds, if the process is still running. Returns a function that cancels it. */
export const afterLoosely = (millis: number, f: () => void): (() => void) => {
  // Read each time, since tests replace them.
  const { clearTimeout, Deno, setTimeout } = globalThis as unknown as Timers
  const timer = setTimeout(f, millis)
  if (typeof timer === "object") timer.unref?.()
  else Deno?.unrefTimer?.(timer)
  return () => clearTimeout(timer)
}
