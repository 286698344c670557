/**
 * The request of a run whose tasks all have the same meters, used again for each item.
 */
import type { Host } from "../runtime/host.ts"
import type { ItemCall } from "./itemRequests.ts"
import { inOrder } from "./limiter.ts"
import type { Limiter } from "./limiter.ts"
import type { Refusal } from "./refusal.ts"
import { AdmissionRequest } from "./request.ts"
import type { Cost } from "./reservation.ts"
import { plainRank } from "./types.ts"
import type { Inside, Rank, StartRequest } from "./types.ts"

/** A call, as its request sees it: a `Run`. */
export interface AskingCall extends Pick<ItemCall, "host" | "permits" | "inContext" | "objection" | "refused"> {
  readonly wanted: number
  admitted(): void
}

export class RunRequest extends AdmissionRequest implements StartRequest {
  readonly host: Host
  readonly inside: Inside | undefined
  cost: Cost | undefined
  ranked: Rank = plainRank
  private readonly run: AskingCall

  constructor(
    run: AskingCall,
    own: ReadonlyArray<Limiter>,
    shared: ReadonlyArray<Limiter>,
    inside: Inside | undefined
  ) {
    super(inOrder(own, shared))
    this.host = run.host
    this.inside = inside
    this.run = run
  }

  override get permits(): number {
    return this.run.permits
  }

  override get priority(): number {
    return this.ranked.priority
  }

  override get lane(): unknown {
    return this.ranked.lane
  }

  override get wanted(): number {
    return this.run.wanted
  }

  isWeighed(): boolean {
    return this.limiters.some((limiter) => limiter.isWeighed)
  }

  override objection(): Refusal | undefined {
    return this.run.objection() ?? super.objection()
  }

  protected override admitted(): void {
    this.run.inContext(() => this.run.admitted())
  }

  protected override refused(refusal: Refusal): void {
    this.run.inContext(() => this.run.refused(refusal))
  }
}
