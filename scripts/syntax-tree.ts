/** What the steps of the build that read or rewrite syntax trees have in common. */
import type { Plugin, RolldownMagicString } from "rolldown"
import { parseSync } from "rolldown/utils"

/** A node of a syntax tree. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [property: string]: unknown
}

export const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as Partial<Node>).type === "string"

/** The node and all that it contains. */
export const nodesIn = (node: Node): ReadonlyArray<Node> => [
  node,
  ...Object.values(node).flat().filter(isNode).flatMap(nodesIn)
]

/** The syntax tree of a module. */
export const programOf = (file: string, code: string): Node => parseSync(file, code).program as unknown as Node

/** A plugin that rewrites each file of the bundle. */
export const rewriting = (name: string, rewrite: (code: string) => RolldownMagicString): Plugin => ({
  name,
  renderChunk: (code) => {
    const edited = rewrite(code)
    return { code: edited.toString(), map: edited.generateMap({ hires: "boundary" }) }
  }
})
