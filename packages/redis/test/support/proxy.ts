/** A TCP proxy on a free port of the loopback interface: passes everything on after a delay, until a test cuts it. */
import { connect, createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import { once } from "node:events"

/** How long what arrives is kept, in milliseconds: to the server, and from it. */
export interface Delays {
  readonly there: () => number
  readonly back: () => number
}

export interface Proxy {
  readonly port: number
  /** Closes all connections, and refuses others until `mend`. */
  readonly cut: () => void
  readonly mend: () => void
  /** Passes nothing on, and closes nothing: neither side notices. `release` passes on what has arrived meanwhile. */
  readonly hold: (direction?: "both" | "back") => void
  readonly release: () => void
  readonly close: () => void
}

const atOnce: Delays = { there: () => 0, back: () => 0 }

export const openProxy = async (target: number, delays: Delays = atOnce): Promise<Proxy> => {
  const sockets = new Set<Socket>()
  const held: Array<() => void> = []
  let holding: "none" | "both" | "back" = "none"
  let isCut = false
  const pass = (from: Socket, to: Socket, direction: keyof Delays): void => {
    sockets.add(from)
    from.setNoDelay(true)
    // What arrives later is not passed on earlier, however long it would take by itself.
    let last = 0
    from.on("data", (data) => {
      const send = (): void => {
        if (holding === "both" || (holding === "back" && direction === "back")) held.push(send)
        else if (!to.destroyed) to.write(data)
      }
      const millis = delays[direction]()
      if (millis === 0 && last === 0) return send()
      const now = performance.now()
      last = Math.max(last, now + millis)
      setTimeout(send, last - now)
    })
    from.on("close", () => {
      sockets.delete(from)
      to.destroy()
    })
    from.on("error", () => {})
  }
  const server = createServer((client) => {
    if (isCut) {
      client.on("error", () => {})
      client.destroy()
      return
    }
    const server = connect(target, "127.0.0.1")
    pass(client, server, "there")
    pass(server, client, "back")
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  const destroyAll = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => {
      isCut = true
      destroyAll()
    },
    mend: () => {
      isCut = false
    },
    hold: (direction = "both") => {
      holding = direction
    },
    release: () => {
      holding = "none"
      for (const send of held.splice(0)) send()
    },
    close: () => {
      server.close()
      destroyAll()
    }
  }
}
