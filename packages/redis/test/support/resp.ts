/** A client for Redis's protocol, with pipelining and nothing else. */
import { connect as open } from "node:net"

export type Reply = string | number | null | Error | ReadonlyArray<Reply>

export interface Connection {
  readonly send: (command: ReadonlyArray<string>) => Promise<Reply>
  /** Gets what is pushed: messages of subscriptions. Set it before the first SUBSCRIBE. */
  onPush: ((push: ReadonlyArray<Reply>) => void) | undefined
  readonly close: () => void
}

/** Parses one reply. Gives where it ends, or undefined if there is not all of it yet. */
const parse = (buffer: Buffer, start: number): readonly [Reply, number] | undefined => {
  const end = buffer.indexOf("\r\n", start)
  if (end < 0) return undefined
  const line = buffer.toString("utf8", start + 1, end)
  const next = end + 2
  switch (String.fromCharCode(buffer[start]!)) {
    case "+":
      return [line, next]
    case "-":
      return [new Error(line), next]
    case ":":
      return [Number(line), next]
    case "$": {
      const length = Number(line)
      if (length < 0) return [null, next]
      if (buffer.length < next + length + 2) return undefined
      return [buffer.toString("utf8", next, next + length), next + length + 2]
    }
    default: {
      const list: Array<Reply> = []
      let at = next
      for (let index = 0; index < Number(line); index++) {
        const element = parse(buffer, at)
        if (element === undefined) return undefined
        list.push(element[0])
        at = element[1]
      }
      return [list, at]
    }
  }
}

export const connect = (port: number): Promise<Connection> =>
  new Promise((resolve, reject) => {
    const socket = open({ host: "127.0.0.1", port, noDelay: true })
    const waiting: Array<{ readonly resolve: (reply: Reply) => void; readonly reject: (error: Error) => void }> = []
    let buffer = Buffer.alloc(0)
    const connection: Connection = {
      onPush: undefined,
      send: (command) =>
        new Promise((resolve, reject) => {
          waiting.push({ resolve, reject })
          const parts = command.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`)
          socket.write(`*${command.length}\r\n${parts.join("")}`)
        }),
      close: () => socket.destroy()
    }
    socket.on("error", (error) => {
      reject(error)
      for (const { reject } of waiting.splice(0)) reject(error)
    })
    socket.on("connect", () => resolve(connection))
    socket.on("data", (data) => {
      buffer = Buffer.concat([buffer, data])
      let at = 0
      for (
        let reply = parse(buffer, at);
        reply !== undefined;
        reply = at < buffer.length ? parse(buffer, at) : undefined
      ) {
        const [value, next] = reply
        at = next
        if (Array.isArray(value) && value[0] === "message" && connection.onPush !== undefined) connection.onPush(value)
        else if (value instanceof Error) waiting.shift()!.reject(value)
        else waiting.shift()!.resolve(value)
      }
      buffer = buffer.subarray(at)
    })
  })
