/** The numbers from 0 below `end`, one at a time. */
export function* range(end: number): Generator<number> {
  for (let i = 0; i < end; i++) yield i
}
