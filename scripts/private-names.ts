/**
 * The names of class members that the build of the facade may replace by shorter ones. Minifiers of users shorten
 * variables, but no properties, as they cannot know what else reads them: this takes about 6 % off a compressed bundle
 * (benchmark `size`). The source map has the names.
 *
 * Replaced is only what has one of these names and nothing to do with the outside: members that our classes declare, but no
 * name that is in the types of the package, in the interfaces between packages, a text, as in `"name" in object`, or a key of an
 * object that a module keeps in a constant, unless a type has the key, as it may be read by a name that is computed. Nor is one that is in the types of
 * JavaScript, of browsers or of Node, unless the types of all its uses show that it is ours (`own-names.ts`). The tests that run
 * on what is published show that nothing else was meant.
 */
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { ownNames } from "./own-names.ts"
import { isNode, nodesIn, programOf } from "./syntax-tree.ts"
import type { Node } from "./syntax-tree.ts"

const root = join(import.meta.dirname, "..")

/** The types of what a program finds around it. */
const platforms = ["node_modules/typescript-5.9/lib/lib.{es,dom}*.d.ts", "node_modules/@types/node/**/*.d.ts"]

const wordsOf = (text: string): ReadonlyArray<string> => text.match(/[\w$]+/g) ?? []

const withoutComments = (code: string): string => code.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")

/** The name that a member or a property is declared by, if it is no computed one. */
const nameOf = ({ computed, key }: Node): ReadonlyArray<string> =>
  isNode(key) && computed !== true && key.type === "Identifier" ? [String(key["name"])] : []

/** The objects that a module keeps in constants, unless the type of a constant has the keys. */
const tablesIn = (statement: Node): ReadonlyArray<Node> => {
  const { declarations = [] } = (statement["declaration"] ?? statement) as { declarations?: ReadonlyArray<Node> }
  return declarations
    .filter(({ id }) => {
      const { typeAnnotation } = id as Node
      return !isNode(typeAnnotation) || nodesIn(typeAnnotation).some(({ name }) => name === "Record")
    })
    .map(({ init }) => ((init as Node | null)?.["expression"] ?? init) as Node | null)
    .filter((value) => value?.type === "ObjectExpression")
    .map((value) => value!)
}

const memberTypes = [
  "PropertyDefinition",
  "MethodDefinition",
  "TSAbstractPropertyDefinition",
  "TSAbstractMethodDefinition"
]

const nodesOf = (file: string): ReadonlyArray<Node> => nodesIn(programOf(file, readFileSync(join(root, file), "utf8")))

/** `publicTypes`: the declarations that are published, as text. */
export const privateNames = (publicTypes: string): ReadonlyArray<string> => {
  const nodes = globSync("packages/{fibermeter,promise}/src/**/*.ts", { cwd: root }).flatMap(nodesOf)
  const members = nodes.filter(({ type }) => memberTypes.includes(type)).flatMap(nameOf)
  // Names of modules, and types.
  const unread = new Set(nodes.flatMap(({ literal, source }) => [literal, source]))
  const texts = nodes.flatMap((node) =>
    node.type === "Literal" && typeof node["value"] === "string" && !unread.has(node) ? [node["value"]] : []
  )
  const keys = nodes
    .filter(({ type }) => type === "Program")
    .flatMap(({ body }) => (body as ReadonlyArray<Node>).flatMap(tablesIn))
    .flatMap(({ properties }) => (properties as ReadonlyArray<Node>).flatMap(nameOf))
  // What packages of stores have in common with ours, without importing it: `test/interface.test-d.ts` of one compares the two.
  const external = nodesOf("packages/redis/src/session/ExternalLimit.ts").flatMap(nameOf)
  // Work queues can be shared with another version of this package.
  const source = nodes
    .filter(({ id, type }) => type === "TSInterfaceDeclaration" && (id as Node)["name"] === "Source")
    .flatMap(({ body }) => ((body as Node)["body"] as ReadonlyArray<Node>).flatMap(nameOf))
  const around = platforms
    .flatMap((pattern) => globSync(pattern, { cwd: root }))
    .flatMap((file) => wordsOf(withoutComments(readFileSync(join(root, file), "utf8"))))
  const own = ownNames(join(root, "packages"), join(root, "packages/promise/src/index.ts"))
  const others = new Set([
    ...texts,
    ...keys,
    ...external,
    ...source,
    ...around.filter((name) => !own.has(name)),
    ...wordsOf(withoutComments(publicTypes))
  ])
  return Array.from(new Set(members).difference(others)).toSorted()
}
