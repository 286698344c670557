/**
 * Streams as items: the lines of a file, through Node's streams, and those of a response, through web streams. Both are
 * read as fast as tasks start, so neither has to fit into memory. When a call ends early, it closes its source.
 */
import { once } from "node:events"
import { createReadStream } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { setTimeout } from "node:timers/promises"
import { amap, runOnEach } from "@fibermeter/promise"
import { serve } from "./serve.ts"

// A Node stream: anything that is an async iterable will do, and `readline` makes one of lines.
const folder = await mkdtemp(join(tmpdir(), "fibermeter-"))
const file = join(folder, "numbers.txt")
await writeFile(file, Array.from({ length: 1000 }, (_, i) => `${i + 1}\n`).join(""))

let sum = 0
{
  // What `readline` is closed by leaves the stream below it open. This does not.
  await using input = createReadStream(file)
  await runOnEach(
    createInterface({ input, crlfDelay: Infinity }),
    async (line) => {
      await setTimeout(1)
      sum += Number(line)
    },
    { maxAtOnce: 50 }
  )
}
console.log(`the numbers of the file add up to ${sum}`)
await rm(folder, { recursive: true })

// A feed without an end, one JSON value on each line. It goes on until the client hangs up.
const { promise: hungUp, resolve: onHangUp } = Promise.withResolvers<void>()
await using server = await serve(async (_, response) => {
  const left = new AbortController()
  response.once("close", () => left.abort())
  for (let id = 1; !left.signal.aborted; id++) {
    // In parts, as a network would have it.
    if (!response.write(`{"id": ${id}, "na`)) await once(response, "drain", left).catch(() => {})
    response.write(`me": "event ${id}"}\n`)
  }
  onHangUp()
})

/** Puts text together again and gives it line by line. */
const splitLines = () => {
  let rest = ""
  return new TransformStream<string, string>({
    transform(text, controller) {
      const lines = (rest + text).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) controller.enqueue(line)
    },
    flush(controller) {
      if (rest !== "") controller.enqueue(rest)
    }
  })
}

const { body } = await fetch(server.url)
const lines = body!.pipeThrough(new TextDecoderStream()).pipeThrough(splitLines())

const parse = async (line: string) => {
  await setTimeout(1)
  return (JSON.parse(line) as { readonly name: string }).name
}
for await (const name of amap(lines, parse, { maxAtOnce: 2, ordered: true })) {
  console.log(name)
  if (name === "event 3") break
}
await hungUp
console.log("the server has seen the client hang up")
