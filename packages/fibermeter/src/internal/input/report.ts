/**
 * How what a server has reported of a window is read. Separate from `validate.ts`, because a program without meters needs
 * none of this.
 */
import { boolean, kind, object, amount } from "./validate.ts"
import type { Checks } from "./validate.ts"

const isText = (value: unknown): value is string => typeof value === "string"

/** The reader of a report. `delay` reads `resetAfter`, and `sentAt` the instant at which the request was sent. */
export const reportCheck = (delay: Checks[string], sentAt: Checks[string]): Checks[string] =>
  object(
    "an object { window, remaining, resetAfter, sentAt }",
    {
      window: kind("the name of a window", isText),
      remaining: amount,
      resetAfter: delay,
      sentAt,
      refunds: boolean,
      optional: boolean
    },
    ["window", "remaining", "resetAfter"]
  )
