/**
 * The gates of a family of meters, one for each key that has been in use of late.
 */
import { LimitGate } from "./limitGate.ts"
import type { Limits } from "./limitGate.ts"

export class KeyedGates<K> {
  private readonly limits: Limits
  /** In the order of their last use. */
  private readonly gates = new Map<K, LimitGate>()

  constructor(limits: Limits) {
    this.limits = limits
  }

  /** How many keys there are whose past still matters. */
  get size(): number {
    for (const [key, gate] of this.gates) if (gate.isForgettable()) this.gates.delete(key)
    return this.gates.size
  }

  of(key: K): LimitGate {
    const gate = this.gates.get(key) ?? new LimitGate(this.limits)
    this.moveToEnd(key, gate)
    // Two are looked at for one that may be new: what is idle goes faster than what is new can come.
    for (let i = 0; i < 2; i++) this.lookAtOldest(gate)
    return gate
  }

  private lookAtOldest(inUse: LimitGate): void {
    const [key, gate] = this.gates.entries().next().value!
    if (gate !== inUse && gate.isForgettable()) this.gates.delete(key)
    else this.moveToEnd(key, gate)
  }

  private moveToEnd(key: K, gate: LimitGate): void {
    this.gates.delete(key)
    this.gates.set(key, gate)
  }
}
