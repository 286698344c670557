/**
 * What `await using` needs, as a type of its own. A type that names the global `AsyncDisposable` is
 * silently `any` where a program's `lib` lacks that, as in create-vite's templates (`["ES2023", "DOM"]`).
 */

/** The key of `Symbol.asyncDispose`, where the program's `lib` has it; otherwise `never`. */
type AsyncDispose = SymbolConstructor extends { readonly asyncDispose: symbol }
  ? SymbolConstructor["asyncDispose"]
  : never

/** The key of `Symbol.dispose`, likewise. */
type Dispose = SymbolConstructor extends { readonly dispose: symbol } ? SymbolConstructor["dispose"] : never

/** `Disposable`, where the program's `lib` has it; otherwise an empty type. */
export type SyncDisposal = { readonly [K in Dispose]: () => void }

/** `AsyncDisposable`, where the program's `lib` has it; otherwise an empty type. */
export type Disposal = { readonly [K in AsyncDispose]: () => Promise<void> }
