/**
 * Asks a model many questions at once, and for a story in parts. Without a model, start a mock:
 *
 *   node server.ts & node main.ts 20
 */
import { runAll } from "@fibermeter/promise"
import { ask, stream } from "./client.ts"

const count = Number(process.argv[2] ?? 20)
const began = performance.now()

// The first answer tells what others have left.
console.log(await ask("Are you there?"))

const questions = Array.from({ length: count }, (_, i) => `What is the square of ${i}?`)
const answers = await runAll(questions, (question) => ask(question))
console.log(`${answers.length} answers, the last one: ${answers.at(-1)}`)

for await (const part of stream("Tell me a story.")) process.stdout.write(part)
process.stdout.write("\n")

console.error(`${((performance.now() - began) / 1000).toFixed(1)} s`)
