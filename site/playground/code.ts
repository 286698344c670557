/**
 * The program that does what the playground shows, for promises and for Effect: to be copied and run. It prints when each
 * request starts; under fake timers these are the instants of the picture.
 */
import { refusalTakes, retryAfterSeconds } from "./request.ts"
import type { Settings } from "./settings.ts"

export type Flavour = "promise" | "effect"

export interface Program {
  readonly imports: string
  /** What stands for the reader's own requests. */
  readonly standIn: string
  readonly main: string
}

export const textOf = ({ imports, main, standIn }: Program): string => `${imports}\n\n${standIn}\n\n${main}\n`

const lines = (...parts: ReadonlyArray<string | false>): string => parts.filter((part) => part !== false).join("\n")

const indent = (text: string, by = "  "): string => text.replaceAll(/^(?=.)/gm, by)

/** `{ a: 1, b: 2 }`, or `undefined` if there is nothing in it. */
const objectOf = (fields: ReadonlyArray<string | false>): string | undefined => {
  const kept = fields.filter((field) => field !== false)
  if (kept.length === 0) return undefined
  const one = `{ ${kept.join(", ")} }`
  return one.length <= 48 ? one : `{\n${indent(kept.join(",\n"))}\n}`
}

/** `value.pipe(a, b)`, on several lines if it is long. */
const piped = (value: string, steps: ReadonlyArray<string | false>): string => {
  const kept = steps.filter((step) => step !== false)
  if (kept.length === 0) return value
  const one = `${value}.pipe(${kept.join(", ")})`
  return one.length <= 70 && !one.includes("\n") ? one : `${value}.pipe(\n${indent(kept.join(",\n"))}\n)`
}

const call = (name: string, args: ReadonlyArray<string | undefined>): string =>
  `${name}(${args.filter((arg) => arg !== undefined).join(", ")})`

const limitFields = (settings: Settings): ReadonlyArray<string | false> => [
  settings.maxAtOnce > 0 && `maxAtOnce: ${settings.maxAtOnce}`,
  settings.maxPerSecond > 0 && `maxPerSecond: ${settings.maxPerSecond}`,
  settings.maxPerSecond > 0 && settings.maxBurst > 1 && `maxBurst: ${settings.maxBurst}`,
  settings.windowLimit > 0 &&
    `windows: { quota: { limit: ${settings.windowLimit}, per: "${settings.windowSeconds} ${settings.windowSeconds === 1 ? "second" : "seconds"}" } }`
]

const needsRandom = ({ durations, failures, lanes, verb }: Settings): boolean =>
  durations !== "fixed" || failures > 0 || (verb === "run" && lanes > 0)

const randomCode = `// The same numbers in every run.
const random = (...key: Array<number>) => {
  let x = 0
  for (const part of key) {
    x = Math.imul(x + part + 0x9e3779b9, 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    x ^= x >>> 16
  }
  return (x >>> 0) / 2 ** 32
}`

const durationCode = ({ durations, mean, seed }: Settings): string => {
  const u = `random(${seed}, id, attempt)`
  switch (durations) {
    case "fixed":
      return String(mean)
    case "random":
      return `Math.max(1, Math.round(${mean} * (0.5 + ${u})))`
    case "heavy tail":
      return `Math.max(1, Math.round(Math.min(${mean} / 3 / (1 - ${u}) ** (2 / 3), ${20 * mean})))`
  }
}

const hasServer = ({ serverAtOnce, serverPerSecond }: Settings): boolean => serverAtOnce > 0 || serverPerSecond > 0

/** Whether an attempt differs from the one before. */
const countsAttempts = (settings: Settings): boolean => settings.durations !== "fixed" || settings.failures > 0

const serverCode = (settings: Settings): string => {
  const { serverAtOnce, serverPerSecond } = settings
  const conditions = [
    serverAtOnce > 0 && `atServer >= ${serverAtOnce}`,
    serverPerSecond > 0 && `accepted.length >= ${serverPerSecond}`
  ].filter((each) => each !== false)
  return lines(
    "let atServer = 0",
    "let accepted: Array<number> = []",
    "const isTooMuch = () => {",
    "  accepted = accepted.filter((at) => at > Date.now() - 1000)",
    `  return ${conditions.join(" || ")}`,
    "}"
  )
}

const httpError = `class HttpError extends Error {
  status = 429
  headers = { "retry-after": "${retryAfterSeconds}" }
}`

const standInHead = (settings: Settings): string =>
  lines(
    "// Stands for your own requests: each takes as long as in the playground.",
    "const begun = performance.now()",
    countsAttempts(settings) && "const attempts = new Map<number, number>()",
    needsRandom(settings) && randomCode,
    hasServer(settings) && `// The server's own limits.\n${serverCode(settings)}`,
    hasServer(settings) && httpError
  )

const startLine = "console.log(`${Math.round(performance.now() - begun)} ms: request ${id} starts`)"

const attemptLines = (settings: Settings): string =>
  lines(
    countsAttempts(settings) && "const attempt = attempts.get(id) ?? 0",
    countsAttempts(settings) && "attempts.set(id, attempt + 1)",
    startLine
  )

const failLine = ({ failures, seed }: Settings, thrown: string): string =>
  `if (random(${seed}, id, attempt, 1) < ${failures / 100}) ${thrown}`

const promiseStandIn = (settings: Settings): string =>
  lines(
    standInHead(settings),
    `const sleep = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener("abort", () => {
      clearTimeout(timer)
      reject(signal.reason)
    })
  })`,
    "const request = async (id: number, signal: AbortSignal) => {",
    indent(attemptLines(settings)),
    hasServer(settings) &&
      indent(`if (isTooMuch()) {
  await sleep(${refusalTakes}, signal)
  throw new HttpError("HTTP 429")
}
accepted.push(Date.now())
atServer++
try {
  await sleep(${durationCode(settings)}, signal)
} finally {
  atServer--
}`),
    !hasServer(settings) && `  await sleep(${durationCode(settings)}, signal)`,
    settings.failures > 0 && `  ${failLine(settings, "throw new Error(`request ${id} has failed`)")}`,
    "  return id",
    "}"
  )

const effectStandIn = (settings: Settings): string => {
  const work = hasServer(settings)
    ? `if (isTooMuch()) {
  yield* Effect.sleep(${refusalTakes})
  return yield* Effect.fail(new HttpError("HTTP 429"))
}
accepted.push(Date.now())
atServer++
yield* Effect.sleep(${durationCode(settings)}).pipe(
  Effect.ensuring(Effect.sync(() => atServer--))
)`
    : `yield* Effect.sleep(${durationCode(settings)})`
  return lines(
    standInHead(settings),
    "const request = (id: number) =>",
    "  Effect.gen(function* () {",
    indent(attemptLines(settings), "    "),
    indent(work, "    "),
    settings.failures > 0 &&
      `    ${failLine(settings, "return yield* Effect.fail(new Error(`request ${id} has failed`))")}`,
    "    return id",
    "  })"
  )
}

const itemsLine = ({ tasks }: Settings): string => `const ids = Array.from({ length: ${tasks} }, (_, id) => id)`

const laneCode = ({ lanes, seed }: Settings): string =>
  `Math.min(${lanes - 1}, Math.floor(-Math.log2(1 - random(${seed}, id, 2))))`

const rankFields = (settings: Settings): ReadonlyArray<string | false> => [
  settings.lanes > 0 && `lane: ${laneCode(settings)}`,
  settings.urgent > 0 && `priority: id % ${settings.urgent} === ${settings.urgent - 1} ? 1 : 0`
]

const readLines = (settings: Settings, leave: string): ReadonlyArray<string | false> => [
  settings.leaveAfter > 0 && `if (++count === ${settings.leaveAfter}) ${leave}`,
  settings.reader > 0 && `await new Promise((resolve) => setTimeout(resolve, ${settings.reader}))`
]

const promiseMain = (settings: Settings): string => {
  const retry = settings.retries > 0 && `retry: { times: ${settings.retries}, delay: ${settings.retryDelay} }`
  const goesOn = settings.onFailure === "continue" && "stopOnError: false"
  const task = "(id, { signal }) => request(id, signal)"
  switch (settings.verb) {
    case "run": {
      const { arrivals } = settings
      const options = objectOf([retry, ...rankFields(settings)])
      const one = call("api.run", ["({ signal }) => request(id, signal)", options])
      return lines(
        itemsLine(settings),
        `const api = ${call("createMeter", [objectOf(limitFields(settings)) ?? "{}"])}`,
        "",
        arrivals === 0 && `const calls = ids.map((id) => ${one})`,
        arrivals > 0 && "const calls = ids.map(async (id) => {",
        arrivals > 0 &&
          `  if (id > 0) await new Promise((resolve) => setTimeout(resolve, Math.round((id * 1000) / ${arrivals})))`,
        arrivals > 0 && indent(`return ${one}`),
        arrivals > 0 && "})",
        "await Promise.allSettled(calls)"
      )
    }
    case "amap": {
      const options = objectOf([
        ...limitFields(settings),
        retry,
        goesOn,
        settings.ordered && "ordered: true",
        settings.maxUnread > 0 && `maxUnread: ${settings.maxUnread}`
      ])
      return lines(
        itemsLine(settings),
        settings.leaveAfter > 0 && "let count = 0",
        `for await (const page of ${call("amap", ["ids", task, options])}) {`,
        indent(lines("console.log(`page ${page}`)", ...readLines(settings, "break"))),
        "}"
      )
    }
    case "runAll":
      return lines(
        itemsLine(settings),
        `const pages = await ${call("runAll", ["ids", task, objectOf([...limitFields(settings), retry, goesOn])])}`,
        "console.log(`${pages.length} pages`)"
      )
    case "runOnEach":
      return lines(
        itemsLine(settings),
        `await ${call("runOnEach", ["ids", task, objectOf([...limitFields(settings), retry, goesOn])])}`
      )
    case "runAny":
      return lines(
        itemsLine(settings),
        `const first = await ${call("runAny", ["ids", task, objectOf([...limitFields(settings), retry])])}`,
        "console.log(`request ${first} was first`)"
      )
  }
}

/** Each attempt is admitted like a new task, so the retry goes around `Meter.metered`. */
const effectMain = (settings: Settings): string => {
  const { arrivals, retries, retryDelay, verb } = settings
  const isRun = verb === "run"
  const metered = isRun || retries > 0
  const limits = limitFields(settings)
  const asksToWait = retries > 0 && hasServer(settings)
  const goesOn = settings.onFailure === "continue" && !isRun && verb !== "runAny"
  const steps = [
    metered && call("Meter.metered", ["api", isRun ? objectOf(rankFields(settings)) : undefined]),
    asksToWait && "Effect.tapError(pauseFor)",
    retries > 0 && `Effect.retry({ times: ${retries}, schedule: Schedule.spaced(${retryDelay}) })`,
    // A failure is a result.
    goesOn && "Effect.result",
    isRun && "Effect.exit",
    isRun && arrivals > 0 && `Effect.delay(Math.round((id * 1000) / ${arrivals}))`
  ]
  const isPlain = steps.every((step) => step === false)
  const task = isPlain ? "request" : "task"
  const own = metered ? [] : limits
  const body = ((): string => {
    switch (verb) {
      case "run":
        return `yield* Effect.all(ids.map(${task}), { concurrency: "unbounded", discard: true })`
      case "amap": {
        const options = objectOf([
          ...own,
          settings.ordered && "ordered: true",
          settings.maxUnread > 0 && `maxUnread: ${settings.maxUnread}`
        ])
        const read = settings.reader > 0 ? `Effect.delay(Effect.log(page), ${settings.reader})` : "Effect.log(page)"
        return lines(
          `const pages = ${call("amap", ["ids", task, options])}`,
          `yield* ${piped("pages", [
            settings.leaveAfter > 0 && `Stream.take(${settings.leaveAfter})`,
            `Stream.runForEach((page) => ${read})`
          ])}`
        )
      }
      case "runAll":
        return lines(
          `const pages = yield* ${call("runAll", ["ids", task, objectOf(own)])}`,
          "yield* Effect.log(`${pages.length} pages`)"
        )
      case "runOnEach":
        return `yield* ${call("runOnEach", ["ids", task, objectOf(own)])}`
      case "runAny":
        return lines(
          `const first = yield* ${call("runAny", ["ids", task, objectOf(own)])}`,
          "yield* Effect.log(`request ${first} was first`)"
        )
    }
  })()
  return lines(
    itemsLine(settings),
    "const program = Effect.gen(function* () {",
    metered && indent(`const api = yield* ${call("Meter.make", [objectOf(limits) ?? "{}"])}`),
    asksToWait &&
      indent(`// All calls wait as long as the server asks.
const pauseFor = (error: unknown) =>
  Effect.flatMap(
    Meter.retryAfter(error),
    Option.match({ onNone: () => Effect.void, onSome: (wait) => Meter.pause(api, wait) })
  )`),
    !isPlain && indent(`const task = (id: number) => ${piped("request(id)", steps)}`),
    indent(body),
    "})",
    "await Effect.runPromise(program)"
  )
}

const importsOf = (settings: Settings, flavour: Flavour): string => {
  const { retries, verb } = settings
  if (flavour === "promise") {
    return `import { ${verb === "run" ? "createMeter" : verb} } from "@fibermeter/promise"`
  }
  const metered = verb === "run" || retries > 0
  const modules = [
    "Effect",
    metered && retries > 0 && hasServer(settings) && "Option",
    retries > 0 && "Schedule",
    verb === "amap" && "Stream"
  ].filter((each) => each !== false)
  const names = [metered && "Meter", verb !== "run" && verb].filter((each) => each !== false)
  return lines(`import { ${modules.join(", ")} } from "effect"`, `import { ${names.join(", ")} } from "fibermeter"`)
}

/** Settings that have no effect beside the others do not show in the code. */
const effective = (settings: Settings): Settings => {
  const canFail = settings.failures > 0 || hasServer(settings)
  return {
    ...settings,
    retries: canFail ? settings.retries : 0,
    onFailure: canFail ? settings.onFailure : "stop"
  }
}

export const codeFor = (settings: Settings, flavour: Flavour): Program => {
  const shown = effective(settings)
  return {
    imports: importsOf(shown, flavour),
    standIn: flavour === "promise" ? promiseStandIn(shown) : effectStandIn(shown),
    main: flavour === "promise" ? promiseMain(shown) : effectMain(shown)
  }
}
