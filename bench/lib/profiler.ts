/** Whose code the processor was in while something ran, by V8's sampling profiler. */
import { Session } from "node:inspector/promises"
import type { Profiler } from "node:inspector"

export const owners = ["garbage collector", "fibermeter", "Effect", "peers", "Node and V8", "tasks"] as const

export type Owner = (typeof owners)[number]

/** Microseconds between two samples. */
const interval = 200

/** Milliseconds, by whose code they were spent in. Those in which there was nothing to do are left out. */
export type Shares = Readonly<Record<Owner, number>>

/** Adds up what is spent in `work`, that many times; not in what is done before each time. */
export const profile = async (rounds: number, before: () => void, work: () => Promise<unknown>): Promise<Shares> => {
  const session = new Session()
  session.connect()
  await session.post("Profiler.enable")
  await session.post("Profiler.setSamplingInterval", { interval })
  const millis = Object.fromEntries(owners.map((name) => [name, 0])) as Record<Owner, number>
  for (let round = 0; round < rounds; round++) {
    before()
    await session.post("Profiler.start")
    await work()
    const { profile: shares } = await session.post("Profiler.stop")
    add(shares, millis)
  }
  session.disconnect()
  return millis
}

const add = ({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile, millis: Record<Owner, number>): void => {
  const ownerOf = new Map(nodes.map(({ callFrame, id }) => [id, owner(callFrame)]))
  for (const [i, sample] of samples.entries()) {
    const name = ownerOf.get(sample)
    // A delta is the time since the sample before.
    if (name !== undefined) millis[name] += (timeDeltas[i + 1] ?? 0) / 1000
  }
}

const owner = ({ functionName, url }: { readonly functionName: string; readonly url: string }): Owner | undefined => {
  if (functionName === "(idle)") return undefined
  if (functionName === "(garbage collector)") return "garbage collector"
  if (!url.startsWith("file:")) return "Node and V8"
  if (/\/node_modules\/effect\//.test(url)) return "Effect"
  if (url.includes("/node_modules/")) return "peers"
  return /\/packages\/(?:fibermeter|promise)\//.test(url) ? "fibermeter" : "tasks"
}
