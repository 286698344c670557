/** What the `// =>` of a documentation example becomes: see doc-examples.ts. */
import { expect } from "vitest"

export const assertions = (count: number) => {
  const unreached = new Set(Array.from({ length: count }, (_, id) => id))
  const failures: Array<unknown> = []
  return {
    /** Compares, and returns the value, so that an expression keeps its meaning. */
    __equal: <A>(id: number, where: string, actual: A, expected: unknown): A => {
      unreached.delete(id)
      try {
        expect(actual, where).toStrictEqual(expected)
      } catch (error) {
        // Kept as well as thrown: the example may run inside code that catches it.
        failures.push(error)
        throw error
      }
      return actual
    },
    __done: (): void => {
      if (failures.length > 0) throw failures[0]
      if (unreached.size > 0) throw new Error(`${unreached.size} of the ${count} "// =>" were never reached`)
    }
  }
}
