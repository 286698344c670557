/**
 * A paginated API as the source of items. An async generator requests the next page only when a task is about to need it.
 */
import { setTimeout } from "node:timers/promises"
import { amap } from "@fibermeter/promise"
import { serve } from "./serve.ts"

interface Page {
  readonly users: ReadonlyArray<number>
  /** Where the next page begins, or `null` on the last page. */
  readonly next: number | null
}

// The API: 50 users, ten per page, and a name for each.
const requestedPages: Array<number> = []
await using server = await serve(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost")
  if (pathname === "/users") {
    const cursor = Number(searchParams.get("cursor"))
    requestedPages.push(cursor)
    const users = Array.from({ length: 10 }, (_, i) => cursor + i)
    response.end(JSON.stringify({ users, next: cursor + 10 < 50 ? cursor + 10 : null } satisfies Page))
  } else {
    await setTimeout(5)
    response.end(`the name of ${pathname.slice("/users/".length)}`)
  }
})

/** All users, page by page. */
async function* allUsers(signal?: AbortSignal) {
  let next: number | null = 0
  while (next !== null) {
    // A source gets no signal of its own. Pass it the signal of the call, so that aborting the call aborts its requests.
    const response = await fetch(`${server.url}/users?cursor=${next}`, { signal: signal ?? null })
    const page = (await response.json()) as Page
    yield* page.users
    next = page.next
  }
}

const nameOf = async (user: number, signal: AbortSignal) =>
  (await fetch(`${server.url}/users/${user}`, { signal })).text()

// All users, three at once. The number of users need not be known.
const controller = new AbortController()
const { signal } = controller
const names: Array<string> = []
for await (const name of amap(allUsers(signal), (user, { signal }) => nameOf(user, signal), {
  maxAtOnce: 3,
  ordered: true,
  signal
})) {
  names.push(name)
}
console.log(`${names.length} names, from "${names[0]}" to "${names.at(-1)}"`)
console.log(`requested pages: ${requestedPages.splice(0).join(", ")}`)

// The first twelve users. Leaving the loop closes the generator, so no further pages are requested.
let count = 0
for await (const _ of amap(allUsers(), (user, { signal }) => nameOf(user, signal), { maxAtOnce: 3, ordered: true })) {
  if (++count === 12) break
}
console.log(`${count} names`)
console.log(`requested pages: ${requestedPages.join(", ")}`)
