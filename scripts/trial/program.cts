/** What a CommonJS module in TypeScript would write: compiled by check.ts against the tarballs. */
import promise = require("@fibermeter/promise")

export const lengths: Promise<Array<number>> = promise.runAll(["a"], async (text) => text.length, { maxAtOnce: 2 })
// @ts-expect-error: an option that is misspelt
export const refused = promise.runAll(["a"], async (text) => text.length, { maxAtOnces: 2 })
