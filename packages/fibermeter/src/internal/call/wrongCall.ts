/**
 * Types for the overloads that the compiler reports wrong calls with.
 *
 * If no overload accepts a call and there are at least four, TypeScript reports the error of the last one, at the argument
 * that is wrong. If there are fewer, it reports all of them, at the name of the function. So a verb with several forms ends
 * with an overload made for that report, repeated where that makes four. From the second argument, the overload infers
 * which form was meant. It accepts what the other overloads accept, with the same result, because in its first pass, by the
 * subtype relation, the compiler may prefer it to one of them.
 */

export type AnyFunction = (...args: never) => unknown

/** Infers `Q` from an argument. It is `unknown`, so that in an intersection the other types say what the argument must be. */
export type Meant<Q> = [Q] extends [never] ? Q : unknown
