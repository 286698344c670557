/** `retryAfter`: the delay that a server asks for, wherever an HTTP client has it. */
import { afterEach, describe, expect, it } from "vitest"
import { retryAfter } from "../src/index.ts"

const now = Date.UTC(2026, 0, 5, 12, 0, 0)

const response = (header: string): Response => new Response(null, { status: 429, headers: { "Retry-After": header } })

describe("seconds", () => {
  it.each([
    ["0", 0],
    ["1", 1000],
    ["120", 120_000],
    ["1.5", 1500],
    ["0.05", 50],
    ["007", 7000],
    [" 5 ", 5000]
  ])("%j is %i ms", (header, millis) => {
    expect(retryAfter({ headers: { "retry-after": header } }, now)).toBe(millis)
  })

  it("a number is taken as it is", () => {
    expect(retryAfter({ headers: { "retry-after": 3 } })).toBe(3000)
    expect(retryAfter({ headers: { "retry-after": 0 } })).toBe(0)
  })

  it("does not depend on the time", () => {
    expect(retryAfter(response("7"))).toBe(7000)
    expect(retryAfter(response("7"), 0)).toBe(7000)
  })
})

describe("retry-after-ms", () => {
  it.each<readonly [string, object, number | undefined]>([
    ["milliseconds", { "retry-after-ms": "1500" }, 1500],
    ["a fraction", { "retry-after-ms": "12.5" }, 12.5],
    ["a number", { "Retry-After-Ms": 40 }, 40],
    ["comes before Retry-After", { "retry-after": "2", "retry-after-ms": "1500" }, 1500],
    ["if it is invalid, Retry-After counts", { "retry-after": "2", "retry-after-ms": "soon" }, 2000],
    ["if it is invalid and alone, nothing counts", { "retry-after-ms": "-5" }, undefined]
  ])("%s", (_, headers, millis) => {
    expect(retryAfter({ headers }, now)).toBe(millis)
    expect(retryAfter(new Response(null, { headers: headers as Record<string, string> }), now)).toBe(millis)
  })
})

describe("dates", () => {
  const zone = process.env["TZ"]
  afterEach(() => {
    if (zone === undefined) delete process.env["TZ"]
    else process.env["TZ"] = zone
  })

  /** The three forms of RFC 9110, section 5.6.7. */
  const forms = [
    ["as it is sent today", "Mon, 05 Jan 2026 12:01:30 GMT"],
    ["of RFC 850", "Monday, 05-Jan-26 12:01:30 GMT"],
    ["of asctime", "Mon Jan  5 12:01:30 2026"]
  ] as const

  describe.each(["UTC", "America/New_York", "Asia/Kolkata"])("in %s", (zone) => {
    it.each(forms)("%s", (_, header) => {
      process.env["TZ"] = zone
      expect(retryAfter(response(header), now)).toBe(90_000)
    })
  })

  it("in the past: no time at all", () => {
    expect(retryAfter(response("Mon, 05 Jan 2026 11:59:59 GMT"), now)).toBe(0)
    expect(retryAfter(response("Mon, 05 Jan 2026 12:00:00 GMT"), now)).toBe(0)
  })

  it("are compared with the current time if there is no Date", () => {
    const inAnHour = new Date(Date.now() + 3_600_000).toUTCString()
    const millis = retryAfter(response(inAnHour))!
    expect(millis).toBeGreaterThan(3_500_000)
    expect(millis).toBeLessThanOrEqual(3_600_000)
  })
})

describe("where HTTP clients have it", () => {
  const headers = { "Retry-After": "2" }
  const circular: { cause?: unknown; message: string } = { message: "round and round" }
  circular.cause = circular
  const found: ReadonlyArray<readonly [string, unknown]> = [
    ["a fetch Response", response("2")],
    ["Headers", new Headers(headers)],
    ["a plain object of headers", headers],
    ["in small letters", { "retry-after": "2" }],
    ["in capitals", { "RETRY-AFTER": "2" }],
    ["headers beside a body, as node-like responses have them", { statusCode: 429, headers: { "retry-after": "2" } }],
    ["an error with a response", Object.assign(new Error("429"), { response: response("2") })],
    [
      "an error with a response of plain headers",
      Object.assign(new Error("429"), { response: { status: 429, headers } })
    ],
    ["an error with Headers", Object.assign(new Error("429"), { headers: new Headers(headers) })],
    ["an error with plain headers", Object.assign(new Error("429"), { headers })],
    ["a cause with a response", new Error("outer", { cause: { response: response("2") } })],
    ["a response as the cause", new Error("outer", { cause: response("2") })],
    ["a cause with plain headers", new Error("outer", { cause: Object.assign(new Error("inner"), { headers }) })],
    ["a cause of a cause", new Error("a", { cause: new Error("b", { cause: { headers } }) })],
    [
      "a response that has its headers by `get` alone",
      { response: { get: (name: string) => (name === "retry-after" ? "2" : null) } }
    ],
    ["headers without a prototype", { headers: Object.assign(Object.create(null), headers) }],
    [
      "an accessor that all instances share",
      {
        headers: new (class {
          get "retry-after"() {
            return "2"
          }
        })()
      }
    ],
    ["headers without it, and a response with it", { headers: { date: "x" }, response: response("2") }],
    ["a response without it, and a cause with it", new Error("a", { cause: response("2") })]
  ]

  it.each(found)("%s", (_, source) => {
    expect(retryAfter(source)).toBe(2000)
  })

  it("headers come before a response, and that before a cause", () => {
    const error = { headers: { "retry-after": "1" }, response: response("2"), cause: response("3") }
    expect(retryAfter(error)).toBe(1000)
    expect(retryAfter({ ...error, headers: undefined })).toBe(2000)
    expect(retryAfter({ ...error, headers: undefined, response: undefined })).toBe(3000)
  })

  it("a circle of causes ends, and may hold it", () => {
    expect(retryAfter(circular)).toBeUndefined()
    expect(retryAfter({ cause: circular, headers })).toBe(2000)
    const a: Record<string, unknown> = {}
    a["response"] = a["cause"] = a["headers"] = { cause: a }
    expect(retryAfter(a)).toBeUndefined()
  })
})

describe("invalid values", () => {
  it.each<readonly [string, unknown]>([
    ["undefined", undefined],
    ["null", null],
    ["a string", "5"],
    ["a number", 5],
    ["a function", () => 5],
    ["an error", new Error("x")],
    ["an empty object", {}],
    ["an array", ["retry-after", "5"]],
    ["a Map with something else", new Map([["a", 1]])],
    ["a Response without it", new Response(null)],
    ["null headers", { headers: null, response: null, cause: null }],
    ["a number of a `get`", { get: 5 }]
  ])("%s has none", (_, source) => {
    expect(retryAfter(source)).toBeUndefined()
  })

  it.each([
    "",
    " ",
    "-1",
    "+5",
    "1e3",
    "0x10",
    "5s",
    "5.",
    ".5",
    "5, 10",
    "NaN",
    "Infinity",
    "soon",
    "soon 12",
    "in 5 seconds",
    "a 5",
    "May",
    "Monday",
    "Mon, 99 Foo 2026 12:00:00 GMT",
    "-2026",
    "9".repeat(400)
  ])("%j is ignored", (header) => {
    expect(retryAfter({ headers: { "retry-after": header } }, now)).toBeUndefined()
  })

  it.each<readonly [string, unknown]>([
    ["NaN", NaN],
    ["a negative number", -5],
    ["Infinity", Infinity],
    ["null", null],
    ["true", true],
    ["an object", { seconds: 5 }],
    ["a list", ["5"]]
  ])("%s as a value is ignored", (_, header) => {
    expect(retryAfter({ headers: { "retry-after": header } }, now)).toBeUndefined()
  })

  const fails = (): never => {
    throw new Error("of the getter")
  }
  it.each<readonly [string, object]>([
    ["a getter", Object.defineProperty({}, "response", { get: fails })],
    ["every getter", new Proxy({}, { get: fails, ownKeys: fails })],
    ["get", { get: fails }],
    ["get of the headers", { headers: { get: fails } }],
    ["a value", Object.defineProperty({}, "retry-after", { get: fails, enumerable: true })]
  ])("%s that throws is ignored", (_, source) => {
    expect(retryAfter(source)).toBeUndefined()
  })

  it("a getter that throws hides nothing that is elsewhere", () => {
    const source = Object.defineProperty({ cause: response("2") }, "response", { get: fails })
    expect(retryAfter(source)).toBe(2000)
  })

  it("reads no other properties of the error", () => {
    const touched: Array<PropertyKey> = []
    const source = new Proxy(
      { headers: undefined, password: "secret" },
      {
        get: (target, key) => {
          touched.push(key)
          return Reflect.get(target, key)
        }
      }
    )
    expect(retryAfter(source)).toBeUndefined()
    expect(touched).not.toContain("password")
  })
})
