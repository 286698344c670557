/**
 * Whether a timer function or clock is a fake of a test, by its marks: an own property `clock` (Sinon, Vitest, Jest), the
 * mark of a mock function (Vitest, Jest), or a bound method (`node:test`; its `Date` has `isMock`). For each of these tools
 * there is a test that fails when its marks change.
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
