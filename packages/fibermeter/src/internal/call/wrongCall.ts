/**
 * Types of the overloads by which the compiler reports wrong calls.
 *
 * Of four and more overloads that fail, TypeScript reports the last one, at the argument that it fails by; of fewer, all of
 * them, at the name of the function. So a verb with several forms ends with an overload made for the report, twice where
 * that makes four. From the second argument it infers which form was meant. It accepts what the others accept, with the
 * same result: in its first pass, by the subtype relation, the compiler may prefer it to one of them.
 */

export type AnyFunction = (...args: never) => unknown

/** Infers `Q` from an argument, and then is `unknown`, so that the rest of an intersection is what the argument has to be. */
export type Meant<Q> = [Q] extends [never] ? Q : unknown
