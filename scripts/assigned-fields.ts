/**
 * Leaves out the declarations of class fields that the constructor assigns: `class A { a; constructor(a) { this.a = a } }`
 * becomes `class A { constructor(a) { this.a = a } }`. A declared field is created first and then assigned, which takes longer,
 * and V8 parses it as a function of its own. Minifiers keep such fields, since a superclass with a setter of that name would
 * make a difference. None of our classes has one.
 *
 * A field that is assigned only in a branch or later stays, so that all instances have the same shape. The lines stay.
 */
import { RolldownMagicString } from "rolldown"
import type { Plugin } from "rolldown"
import { programOf, rewriting, nodesIn } from "./syntax-tree.ts"
import type { Node } from "./syntax-tree.ts"

const childrenOf = (node: unknown, property: string): ReadonlyArray<Node> =>
  (node as Node)[property] as ReadonlyArray<Node>

/** The name of the property of `this` that a statement assigns, if that is all it does. */
const assignedBy = ({ expression }: Node): ReadonlyArray<unknown> => {
  const { left, operator } = (expression ?? {}) as Partial<Node>
  const { object, property } = (left ?? {}) as Partial<Node>
  const isField = operator === "=" && (object as Node | undefined)?.type === "ThisExpression"
  return isField ? [(property as Node)["name"]] : []
}

/** The fields of a class without a value that its constructor assigns. */
const assignedFields = (body: Node): ReadonlyArray<Node> => {
  const members = childrenOf(body, "body")
  const constructor = members.find(({ kind }) => kind === "constructor")
  if (constructor === undefined) return []
  const assigned = childrenOf((constructor["value"] as Node)["body"], "body").flatMap(assignedBy)
  return members.filter(
    ({ computed, key, static: isStatic, type, value }) =>
      type === "PropertyDefinition" &&
      value === null &&
      isStatic === false &&
      computed === false &&
      assigned.includes((key as Node)["name"])
  )
}

/** A module without such fields. */
export const withoutAssigned = (code: string): RolldownMagicString => {
  const edited = new RolldownMagicString(code)
  for (const body of nodesIn(programOf("module.js", code)).filter(({ type }) => type === "ClassBody")) {
    for (const { end, start } of assignedFields(body)) edited.remove(start, end)
  }
  return edited
}

export const assignedFieldsLeftOut = (): Plugin => rewriting("assigned fields left out", withoutAssigned)
