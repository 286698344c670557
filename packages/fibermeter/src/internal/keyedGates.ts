/**
 * The gates of a family of meters, one for each key that has been in use of late.
 */
import type { LimitGate } from "./limitGate.ts"

export class KeyedGates<K, G extends LimitGate = LimitGate> {
  private readonly make: () => G
  /** In the order of their last use. */
  private readonly gates = new Map<K, G>()

  constructor(make: () => G) {
    this.make = make
  }

  /** How many keys there are whose past still matters. */
  get size(): number {
    for (const [key, gate] of this.gates) if (gate.isForgettable()) this.gates.delete(key)
    return this.gates.size
  }

  of(key: K): G {
    const gate = this.gates.get(key) ?? this.make()
    this.moveToEnd(key, gate)
    // Two are looked at for one that may be new: what is idle goes faster than what is new can come.
    for (let i = 0; i < 2; i++) this.lookAtOldest(gate)
    return gate
  }

  private lookAtOldest(inUse: G): void {
    const [key, gate] = this.gates.entries().next().value!
    if (gate !== inUse && gate.isForgettable()) this.gates.delete(key)
    else this.moveToEnd(key, gate)
  }

  private moveToEnd(key: K, gate: G): void {
    this.gates.delete(key)
    this.gates.set(key, gate)
  }
}
