/** `rateLimitsOf`: what headers say is left of a server's quotas, as reports for `reconcile`. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { createMeter, rateLimitsOf } from "../src/index.ts"
import type { RateLimit } from "../src/index.ts"

const now = Date.UTC(2026, 0, 5, 12, 0, 0)

const report = (window: string, remaining: number, resetAfter: number): RateLimit => ({
  window,
  remaining,
  resetAfter,
  optional: true
})

type Headers = Readonly<Record<string, string>>

/** Read from a `Headers`, and from a plain object. */
const read = (headers: Headers): ReadonlyArray<RateLimit> => {
  const limits = rateLimitsOf(new Response(null, { headers }), now)
  expect(rateLimitsOf({ headers }, now)).toEqual(expect.arrayContaining([...limits]))
  return limits
}

describe("the field RateLimit", () => {
  it.each<readonly [string, Headers, ReadonlyArray<RateLimit>]>([
    ["a quota", { RateLimit: '"default";r=50;t=30' }, [report("default", 50, 30_000)]],
    [
      "several",
      { RateLimit: '"burst";r=0;t=1, "daily";r=700;t=36000' },
      [report("burst", 0, 1000), report("daily", 700, 36_000_000)]
    ],
    [
      "with their policies",
      { RateLimit: '"a";r=5;t=9', "RateLimit-Policy": '"a";q=10;w=60,"b";q=1000;w=3600' },
      [report("a", 5, 9000)]
    ],
    [
      "without a reset, the window of the policy",
      { RateLimit: '"a";r=5, "b";r=6', "RateLimit-Policy": '"b";q=1000;w=3600;qu="requests"' },
      [report("b", 6, 3_600_000)]
    ],
    ["a partition key", { RateLimit: '"default";r=3;pk=:dHJpYWwxMjEzMjM=:;t=5' }, [report("default", 3, 5000)]],
    [
      "tokens as names, and spaces",
      { RateLimit: "  default ;r=3; t=5 ,b;t=1;r=2" },
      [report("default", 3, 5000), report("b", 2, 1000)]
    ],
    [
      "a name with commas, semicolons and quotes",
      { RateLimit: '"a;r=9, \\"b\\\\";r=3;t=5' },
      [report('a;r=9, "b\\', 3, 5000)]
    ],
    ["other parameters, some without a value", { RateLimit: '"a";x;y=?1;z="r=7;t=8";r=3;t=5' }, [report("a", 3, 5000)]],
    ["of version 7 of the draft", { RateLimit: "limit=100, remaining=50, reset=30" }, [report("requests", 50, 30_000)]],
    [
      "of version 6",
      {
        "RateLimit-Limit": "100",
        "RateLimit-Remaining": "50",
        "RateLimit-Reset": "30",
        "RateLimit-Policy": "100;w=60"
      },
      [report("requests", 50, 30_000)]
    ]
  ])("%s", (_, headers, limits) => {
    expect(read(headers)).toEqual(limits)
  })

  it.each([
    "",
    ",",
    '"default"',
    '"default";r=50',
    '"default";t=50',
    '"default";r=-1;t=30',
    '"default";r=1.;t=30',
    '"default";r=1;t=-30',
    '"default";r=many;t=30',
    '"default;r=50;t=30',
    '"default";r=50;t=30,',
    '"default";r=50;t=30, ,"b";r=1;t=1',
    '"default" r=50;t=30',
    "(a b);r=50;t=30",
    "5;r=50;t=30",
    '"a\\b";r=50;t=30',
    "remaining=5",
    "limit=100, remaining=-5, reset=30",
    "limit=100, remaining=5, reset=soon"
  ])("malformed: %j", (field) => {
    expect(read({ RateLimit: field })).toEqual([])
  })
})

describe("X-RateLimit", () => {
  it("of OpenAI", () => {
    expect(
      read({
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s"
      })
    ).toEqual([report("requests", 59, 1000), report("tokens", 149_984, 360_000)])
  })

  it.each([
    ["20ms", 20],
    ["7.66s", 7660],
    ["1m26.4s", 86_400],
    ["2h0m1s", 7_201_000],
    ["1d", 86_400_000],
    ["0s", 0],
    ["3", 3000],
    ["0.5", 500]
  ])("resets after %s", (reset, resetAfter) => {
    expect(read({ "x-ratelimit-remaining-a": "1", "x-ratelimit-reset-a": reset })).toEqual([report("a", 1, resetAfter)])
  })

  it("of GitHub: an instant in seconds since 1970", () => {
    const headers = (seconds: number): Headers => ({
      "x-ratelimit-limit": "60",
      "x-ratelimit-remaining": "56",
      "x-ratelimit-reset": `${now / 1000 + seconds}`,
      "x-ratelimit-resource": "core",
      "x-ratelimit-used": "4"
    })
    expect(read(headers(900))).toEqual([report("requests", 56, 900_000)])
    expect(read(headers(-1))).toEqual([report("requests", 56, 0)])
  })

  it("is compared with the present time if no other is given", () => {
    const headers = { "x-ratelimit-remaining": "1", "x-ratelimit-reset": `${Math.ceil(Date.now() / 1000) + 60}` }
    const [limit] = rateLimitsOf({ headers })
    expect(limit!.resetAfter).toBeGreaterThan(50_000)
    expect(limit!.resetAfter).toBeLessThanOrEqual(61_000)
  })

  it.each<readonly [string | undefined, string | undefined]>([
    ["1", undefined],
    [undefined, "1s"],
    ["", "1s"],
    ["one", "1s"],
    ["-1", "1s"],
    ["1e3", "1s"],
    ["99999999999999999999", "1s"],
    ["1", ""],
    ["1", "soon"],
    ["1", "-1s"],
    ["1", "1 s"],
    ["1", "1s2"],
    ["1", "1w"],
    ["1", `${"9".repeat(400)}s`],
    ["1", "2026-99-05T12:00:00Z"],
    ["1", "Mon, 05 Jan 2026 12:01:30 GMT"]
  ])("malformed: remaining %j, reset %j", (remaining, reset) => {
    const headers = {
      ...(remaining === undefined ? {} : { "x-ratelimit-remaining-a": remaining }),
      ...(reset === undefined ? {} : { "x-ratelimit-reset-a": reset }),
      "x-ratelimit-remaining-b": "7",
      "x-ratelimit-reset-b": "1s"
    }
    expect(read(headers)).toEqual([report("b", 7, 1000)])
  })
})

it("anthropic-ratelimit", () => {
  expect(
    read({
      "anthropic-ratelimit-requests-limit": "50",
      "anthropic-ratelimit-requests-remaining": "49",
      "anthropic-ratelimit-requests-reset": "2026-01-05T12:00:01Z",
      "anthropic-ratelimit-input-tokens-limit": "40000",
      "anthropic-ratelimit-input-tokens-remaining": "39000",
      "anthropic-ratelimit-input-tokens-reset": "2026-01-05T12:00:02.5+00:00",
      "anthropic-ratelimit-output-tokens-remaining": "8000",
      "anthropic-ratelimit-output-tokens-reset": "2026-01-05T11:59:59Z"
    })
  ).toEqual([report("input-tokens", 39_000, 2500), report("output-tokens", 8000, 0), report("requests", 49, 1000)])
})

describe("where headers are found", () => {
  const headers = { "X-RateLimit-Remaining": "5", "X-RateLimit-Reset": "9" }
  const expected = [report("requests", 5, 9000)]

  it.each<readonly [string, unknown]>([
    ["a Headers", new Headers(headers)],
    ["a Map", new Map(Object.entries(headers))],
    ["an object", headers],
    ["an object with numbers and lists", { "x-ratelimit-remaining": 5, "x-ratelimit-reset": ["9"] }],
    ["a response of Node's http", { headers: { "x-ratelimit-remaining": "5", "x-ratelimit-reset": "9" } }],
    ["an error with a response", Object.assign(new Error("429"), { response: new Response(null, { headers }) })],
    ["the cause of an error", new Error("429", { cause: { response: { headers } } })]
  ])("%s", (_, source) => {
    expect(rateLimitsOf(source, now)).toEqual(expected)
  })

  it.each<readonly [string, unknown]>([
    ["undefined", undefined],
    ["null", null],
    ["a text", "x-ratelimit-remaining: 5"],
    ["an empty object", {}],
    ["a list", [1, 2]],
    [
      "an iterator that throws",
      {
        [Symbol.iterator]() {
          throw new Error("not headers")
        }
      }
    ],
    [
      "a getter that throws",
      {
        get headers() {
          throw new Error("gone")
        }
      }
    ],
    [
      "a revoked proxy",
      (() => {
        const { proxy, revoke } = Proxy.revocable({}, {})
        revoke()
        return proxy
      })()
    ]
  ])("nothing is found in %s", (_, source) => {
    expect(rateLimitsOf(source, now)).toEqual([])
  })
})

it("never throws, whatever the headers are, and what it returns is valid for reconcile", () => {
  const value = fc.oneof(fc.string(), fc.stringMatching(/^["\w;=,.\\ :?()-]{0,40}$/), {
    weight: 4,
    arbitrary: fc.constantFrom(
      '"a";r=1;t=2',
      "1",
      "1s",
      "2026-01-05T12:00:01Z",
      "remaining=1, reset=2",
      '"a";q=1;w=9',
      "999999999999999"
    )
  })
  const name = fc.constantFrom(
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-remaining-a",
    "x-ratelimit-reset-a",
    "anthropic-ratelimit-b-remaining",
    "anthropic-ratelimit-b-reset"
  )
  const meter = createMeter({ windows: { requests: { limit: 10, per: 1000 } } })
  let found = 0
  fc.assert(
    fc.property(fc.dictionary(name, value, { minKeys: 5, maxKeys: 8 }), (headers) => {
      for (const limit of rateLimitsOf({ headers }, now)) {
        found++
        meter.reconcile(limit)
      }
    }),
    { numRuns: 500, seed: 20_261_127 }
  )
  expect(found).toBeGreaterThan(50)
})

it("takes time in proportion to the length of a malformed field", () => {
  const field = `"a"${";r=1".repeat(20_000)}"`
  expect(rateLimitsOf({ headers: { ratelimit: field } }, now)).toEqual([])
})
