/**
 * The marks by which the fake timers of tests are known: `clock`, which the fakes of Sinon, Vitest and Jest have as their
 * own; Vitest's and Jest's mark of a mock function; and Node's, whose fakes are methods bound to a private name or, of
 * `Date`, say so themselves. A test for each of those tools fails when its marks change.
 */
export const isFake = (value: unknown): boolean => {
  const marked = value as { readonly name?: unknown; readonly isMock?: unknown }
  return (
    Object.hasOwn(marked, "clock") ||
    Object.hasOwn(marked, "_isMockFunction") ||
    marked.isMock === true ||
    (typeof marked.name === "string" && marked.name.startsWith("bound #"))
  )
}
