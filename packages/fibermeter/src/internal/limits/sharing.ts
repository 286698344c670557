/**
 * What calls need that have meters: see `admission/sharing.ts`.
 */
import { follow, unfollow } from "../admission/followers.ts"
import { ItemRequests } from "../admission/itemRequests.ts"
import { RunRequest } from "../admission/runRequest.ts"
import type { Sharing } from "../admission/sharing.ts"
import type { Limits } from "../input/limits.ts"
import { LocalLimiter } from "./localLimiter.ts"
import { SlidingWindow } from "./slidingWindow.ts"

/** The limiter of the own limits of a call that has one request. */
export class OneRequestLimiter extends LocalLimiter {
  constructor(own: Limits) {
    super(own, SlidingWindow)
  }

  override get severalWait(): boolean {
    return false
  }
}

export const sharing: Sharing = {
  runRequest: (call, own, shared, inside) =>
    // Younger than those of its meters, so that it comes first: see `inOrder`.
    new RunRequest(call, own === undefined ? [] : [new OneRequestLimiter(own)], shared, inside),
  itemRequests: (call, own, meters) =>
    new ItemRequests(call, own === undefined ? [] : [new LocalLimiter(own, SlidingWindow)], meters),
  follow,
  unfollow
}
