/**
 * Streams as sources of items: the lines of a file through Node streams, and the lines of a response through web streams.
 * Both are read as tasks start, so neither has to fit into memory. A call that ends early closes its source.
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

// A Node stream. `readline` turns it into an async iterable of lines.
const folder = await mkdtemp(join(tmpdir(), "fibermeter-"))
const file = join(folder, "numbers.txt")
await writeFile(file, Array.from({ length: 1000 }, (_, i) => `${i + 1}\n`).join(""))

let sum = 0
{
  // Closing `readline` leaves its input stream open. `await using` closes it.
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
console.log(`sum of the numbers in the file: ${sum}`)
await rm(folder, { recursive: true })

// An infinite feed, one JSON value per line, until the client closes the connection.
const { promise: hungUp, resolve: onHangUp } = Promise.withResolvers<void>()
await using server = await serve(async (_, response) => {
  const left = new AbortController()
  response.once("close", () => left.abort())
  for (let id = 1; !left.signal.aborted; id++) {
    // In parts, as over a network.
    if (!response.write(`{"id": ${id}, "na`)) await once(response, "drain", left).catch(() => {})
    response.write(`me": "event ${id}"}\n`)
  }
  onHangUp()
})

/** Splits a stream of text into lines. */
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
console.log("the client has closed the connection")
