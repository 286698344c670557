/** A value that is created at its first use, such as the checks of options: creating them all would delay the import. */
export const once = <A>(create: () => A): (() => A) => {
  let created: A | undefined
  return () => (created ??= create())
}
