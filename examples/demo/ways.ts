/** The uses of fibermeter in one process: the same work in three ways, and a race. `client.ts` has that in several. */
import { amap, runAll, runAny } from "@fibermeter/promise"
import { Effect, Stream } from "effect"
import * as Core from "fibermeter"

export interface Limits {
  readonly maxAtOnce: number
  readonly maxPerSecond: number
}

/** A request that can be cancelled by its signal. */
export type Get<Key, A> = (key: Key, signal: AbortSignal) => Promise<A>

type Way = <A>(ids: ReadonlyArray<number>, get: Get<number, A>, limits: Limits) => Promise<ReadonlyArray<A>>

/** Promises: each document as it becomes available. */
const facadeAmap: Way = async (ids, get, limits) => {
  const documents = []
  for await (const document of amap(ids, (id, { signal }) => get(id, signal), limits)) {
    documents.push(document)
  }
  return documents
}

/** Promises: all documents, in input order. */
const facadeRunAll: Way = (ids, get, limits) => runAll(ids, (id, { signal }) => get(id, signal), limits)

/** Effect: a Stream of documents inside a program. */
const coreAmap: Way = (ids, get, limits) => {
  const getDocument = (id: number) => Effect.tryPromise({ try: (signal) => get(id, signal), catch: (error) => error })

  const program = Effect.gen(function* () {
    const documents = Core.amap(ids, getDocument, limits)
    return yield* Stream.runCollect(documents)
  })
  return Effect.runPromise(program)
}

export const ways = { "facade amap": facadeAmap, "facade runAll": facadeRunAll, "core amap": coreAmap }

/** The first mirror to succeed. The other requests are cancelled. */
export const race = <A>(mirrors: ReadonlyArray<string>, get: Get<string, A>): Promise<A> =>
  runAny(mirrors, (mirror, { signal }) => get(mirror, signal))
