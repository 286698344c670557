/** A TCP proxy that passes everything on after a delay, as a network of that latency does. */
import { connect, createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import { once } from "node:events"

/** `millis` in each direction. Resolves to the port of the proxy and what closes it. */
export const delayed = async (
  port: number,
  millis: number
): Promise<{ readonly port: number; readonly close: () => void }> => {
  const sockets = new Set<Socket>()
  const pass = (from: Socket, to: Socket): void => {
    sockets.add(from)
    from.setNoDelay(true)
    from.on("data", (data) => setTimeout(() => to.write(data), millis))
    from.on("close", () => {
      sockets.delete(from)
      to.destroy()
    })
    from.on("error", () => {})
  }
  const server = createServer((client) => {
    const target = connect(port, "127.0.0.1")
    pass(client, target)
    pass(target, client)
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
}
