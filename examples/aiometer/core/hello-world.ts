/** The four verbs. */
import { Console, Effect, Stream } from "effect"
import { amap, runAll, runAny, runOnEach } from "fibermeter"

// Simulates input and output that take their time: Robert is the last to be greeted.
const delays = { Robert: 250, Carmen: 50, Lucas: 150 }
const names = ["Robert", "Carmen", "Lucas"] as const

const getGreeting = (name: keyof typeof delays) => Effect.delay(Effect.succeed(`Hello, ${name}!`), delays[name])

const program = Effect.gen(function* () {
  // Run an effect on each item, in any order of ending, without results:
  const greeted: Array<string> = []
  yield* runOnEach(names, (name) => Effect.map(getGreeting(name), (greeting) => greeted.push(greeting)))
  console.log(greeted) // => ["Hello, Carmen!", "Hello, Lucas!", "Hello, Robert!"]

  // The results in the order of the items, like Effect.all:
  console.log(yield* runAll(names, getGreeting)) // => ["Hello, Robert!", "Hello, Carmen!", "Hello, Lucas!"]

  // Each result as soon as it is there:
  yield* Stream.runForEach(amap(names, getGreeting), (greeting) => Console.log(greeting))

  // The first to succeed; the others are interrupted:
  console.log(yield* runAny(names, getGreeting)) // => "Hello, Carmen!"

  // Where the tasks differ from each other: effects, in a list or with names.
  console.log(yield* runAll([getGreeting("Lucas"), Effect.succeed(42)])) // => ["Hello, Lucas!", 42]
})

await Effect.runPromise(program)
