/** What waiting costs at the very least: tasks that always resolve wait in an array, and there is nothing else to it. */
import { AsyncResource } from "node:async_hooks"

export const bareQueue = (maxAtOnce: number, { keepsContext = false }: { readonly keepsContext?: boolean } = {}) => {
  const line: Array<() => void> = []
  let passed = 0
  let running = 0
  return <A>(task: () => Promise<A>): Promise<A> =>
    new Promise((resolve) => {
      const start = (): void => {
        running++
        void task().then((value) => {
          resolve(value)
          running--
          if (passed < line.length) line[passed++]!()
        })
      }
      if (running < maxAtOnce) return start()
      if (!keepsContext) return void line.push(start)
      const context = new AsyncResource("bare queue")
      line.push(() => context.runInAsyncScope(start))
    })
}
