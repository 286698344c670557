/**
 * Types of the overloads by which the compiler reports wrong calls.
 *
 * If four or more overloads fail, TypeScript reports the last one, at the wrong argument; with fewer, it reports all of
 * them, at the name of the function. So a verb with several forms ends with an overload made for the report, repeated if
 * needed to make four. It infers from the second argument which form was meant. It accepts the same calls as the others,
 * with the same result, since the compiler may prefer it in its first pass, which uses the subtype relation.
 */

export type AnyFunction = (...args: never) => unknown

/** Infers `Q` from an argument, and then is `unknown`, so that only the rest of an intersection constrains the argument. */
export type Meant<Q> = [Q] extends [never] ? Q : unknown
