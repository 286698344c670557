/**
 * What `await using` asks for, as a type that stands by itself. A type that names the global `AsyncDisposable` is
 * silently `any` where a program's `lib` lacks that, as in create-vite's templates (`["ES2023", "DOM"]`).
 */

/** The key of `Symbol.asyncDispose`, where the program's `lib` knows that; otherwise none. */
type AsyncDispose = SymbolConstructor extends { readonly asyncDispose: symbol }
  ? SymbolConstructor["asyncDispose"]
  : never

/** `AsyncDisposable`, where the program's `lib` knows what that is; otherwise nothing. */
export type Disposal = { readonly [K in AsyncDispose]: () => Promise<void> }
