/**
 * What calls need that have meters, and other calls do not. It comes with the limiters of meters (`limits/sharing.ts`), so
 * that a program without meters does not load it.
 */
import type { Limits } from "../input/limits.ts"
import type { ItemCall, ItemMeters, ItemRequests } from "./itemRequests.ts"
import type { Limiter } from "./limiter.ts"
import type { AskingCall } from "./runRequest.ts"
import type { Follower, Inside, StartRequest } from "./types.ts"

export interface Sharing {
  /** The request of a call whose items have the same meters, with these limiters. */
  readonly runRequest: (
    call: AskingCall,
    own: Limits | undefined,
    shared: ReadonlyArray<Limiter>,
    inside: Inside | undefined
  ) => StartRequest
  /** The requests of a call whose items have meters of their own. */
  readonly itemRequests: (call: ItemCall, own: Limits | undefined, meters: ItemMeters) => ItemRequests
  /** Notifies the call when the capacity changes, and when the limiter begins to drain. */
  readonly follow: (limiter: Limiter, follower: Follower) => void
  readonly unfollow: (limiter: Limiter, follower: Follower) => void
}
