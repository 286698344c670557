/**
 * A timer that does not keep a process alive, where that can be said: Node and Bun give an object for it, Deno has a
 * function of its own, and elsewhere a timer keeps nothing alive.
 */

interface Timers {
  readonly setTimeout: (f: () => void, millis: number) => number | { readonly unref?: () => void }
  readonly clearTimeout: (timer: unknown) => void
  readonly Deno?: { readonly unrefTimer?: (timer: unknown) => void }
}

/** Calls `f` after so many milliseconds, if the process lives as long. Returns what calls it off. */
export const afterLoosely = (millis: number, f: () => void): (() => void) => {
  // Asked for each time: tests exchange them.
  const { clearTimeout, Deno, setTimeout } = globalThis as unknown as Timers
  const timer = setTimeout(f, millis)
  if (typeof timer === "object") timer.unref?.()
  else Deno?.unrefTimer?.(timer)
  return () => clearTimeout(timer)
}
