/**
 * Makes declarations of the functions that a module keeps in constants: `const f = (a) => b` becomes
 * `function f(a) { return (b) }`. V8 parses an arrow function with what follows `=>` in full, but a declared function only to
 * find its end, until it is called: an import takes about a tenth less (benchmark `load`). The lines stay.
 *
 * A function that mentions `this` or `arguments` stays, as a declared one would have its own.
 */
import { RolldownMagicString } from "rolldown"
import type { Plugin } from "rolldown"
import { parseSync } from "rolldown/utils"
import { rewriting } from "./syntax-tree.ts"

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
}

interface Arrow extends Node {
  readonly async: boolean
  readonly params: ReadonlyArray<Node>
  readonly body: Node
}

interface Statement extends Node {
  readonly kind?: string
  readonly declarations?: ReadonlyArray<{ readonly id: Node; readonly init: Node | null }>
}

/** The only constant of a statement, if that is an arrow function. */
const constantFunction = ({ declarations = [], kind }: Statement): readonly [id: Node, arrow: Arrow] | undefined => {
  const [first, second] = declarations
  const isOne = kind === "const" && second === undefined && first?.id.type === "Identifier"
  return isOne && first.init?.type === "ArrowFunctionExpression" ? [first.id, first.init as Arrow] : undefined
}

/** A module with such functions declared. */
export const declared = (code: string): RolldownMagicString => {
  const edited = new RolldownMagicString(code)
  const body = parseSync("module.js", code).program.body as unknown as ReadonlyArray<Statement>
  for (const statement of body) {
    const [id, arrow] = constantFunction(statement) ?? []
    if (id === undefined || arrow === undefined) continue
    if (/\b(?:this|arguments)\b/.test(code.slice(arrow.start, arrow.end))) continue
    const parameters = arrow.async ? code.indexOf("(", arrow.start) : arrow.start
    // Behind the parameters, as the default of one may have an arrow, too.
    const at = code.indexOf("=>", arrow.params.at(-1)?.end ?? arrow.start)
    const keyword = arrow.async ? "async function" : "function"
    edited.overwrite(statement.start, parameters, `${keyword} ${code.slice(id.start, id.end)}`)
    if (arrow.body.type === "BlockStatement") {
      edited.remove(at, arrow.body.start)
      if (arrow.end < statement.end) edited.remove(arrow.end, statement.end)
    } else {
      edited.overwrite(at, at + 2, "{ return (")
      edited.overwrite(arrow.end, statement.end, ") }")
    }
  }
  return edited
}

export const declaredFunctions = (): Plugin => rewriting("declared functions", declared)
