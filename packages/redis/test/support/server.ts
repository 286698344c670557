/** Tests with a `redis-server` of their own, for one test file. */
import { afterAll, beforeAll, describe } from "vitest"
import type { Persistence, Server } from "./redisServer.ts"
import { hasServer, startServer } from "./redisServer.ts"

export { hasServer, persistences, type Server } from "./redisServer.ts"

/** Tests with a server. Without `redis-server` they are left out, and say so by their name. In CI they have to run. */
export const describeWithServer = (
  name: string,
  persistence: Persistence,
  tests: (server: () => Server) => void
): void => {
  const remark = hasServer
    ? ""
    : " (left out, since there is no redis-server in the PATH: apt-get install redis-server)"
  describe.runIf(hasServer)(`${name}, persistence: ${persistence}${remark}`, () => {
    let server: Server | undefined
    beforeAll(async () => {
      server = await startServer(persistence)
    })
    afterAll(() => server?.stop())
    tests(() => server!)
  })
}
