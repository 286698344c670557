/**
 * What calls need that have meters: see `admission/sharing.ts`.
 */
import { follow, unfollow } from "../admission/followers.ts"
import { ItemRequests } from "../admission/itemRequests.ts"
import type { Limiter } from "../admission/limiter.ts"
import { RunRequest } from "../admission/runRequest.ts"
import type { Sharing } from "../admission/sharing.ts"
import type { Limits } from "../input/limits.ts"
import { LocalLimiter } from "./localLimiter.ts"
import { SlidingWindow } from "./slidingWindow.ts"

/** The limiters of a call's own limits. Younger than those of its meters, so that it comes first: see `inOrder`. */
const ownLimiters = (own: Limits | undefined): ReadonlyArray<Limiter> =>
  own === undefined ? [] : [new LocalLimiter(own, SlidingWindow)]

export const sharing: Sharing = {
  runRequest: (call, own, shared, inside) => new RunRequest(call, ownLimiters(own), shared, inside),
  itemRequests: (call, own, meters) => new ItemRequests(call, ownLimiters(own), meters),
  follow,
  unfollow
}
