/** The four verbs. */
import { Console, Effect, Stream } from "effect"
import { amap, runAll, runAny, runOnEach } from "fibermeter"

// Simulates I/O of different duration. Robert is greeted last.
const delays = { Robert: 250, Carmen: 50, Lucas: 150 }
const names = ["Robert", "Carmen", "Lucas"] as const

const getGreeting = (name: keyof typeof delays) => Effect.delay(Effect.succeed(`Hello, ${name}!`), delays[name])

const program = Effect.gen(function* () {
  // Run an effect on each item, without results:
  const greeted: Array<string> = []
  yield* runOnEach(names, (name) => Effect.map(getGreeting(name), (greeting) => greeted.push(greeting)))
  console.log(greeted) // => ["Hello, Carmen!", "Hello, Lucas!", "Hello, Robert!"]

  // All results, in input order, like Effect.all:
  console.log(yield* runAll(names, getGreeting)) // => ["Hello, Robert!", "Hello, Carmen!", "Hello, Lucas!"]

  // Each result as it becomes available:
  yield* Stream.runForEach(amap(names, getGreeting), (greeting) => Console.log(greeting))

  // The first success. The other tasks are interrupted:
  console.log(yield* runAny(names, getGreeting)) // => "Hello, Carmen!"

  // Different tasks: effects, in an array or a record.
  console.log(yield* runAll([getGreeting("Lucas"), Effect.succeed(42)])) // => ["Hello, Lucas!", 42]
})

await Effect.runPromise(program)
