/** What is made at its first use. Most of what this package needs to read options would otherwise be made while it loads. */
export const once = <A>(make: () => A): (() => A) => {
  let made: A | undefined
  return () => (made ??= make())
}
