/** The ways of running the tasks, by name: what a page needs without their code. */
export const ways = ["fibermeter", "Promise.all", "p-map", "p-queue", "p-throttle", "bottleneck"] as const
export type Way = (typeof ways)[number]
