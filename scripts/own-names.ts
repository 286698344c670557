/**
 * The names of properties that mean one of a program's own wherever the program uses them, by the types of what they are
 * properties of. One that is used of a value without a known type, such as `any`, is left out.
 *
 * Own is what the program declares. But a type that some value is asserted or tested to have (`as`, `is`), unless a class
 * implements it, may describe what comes from outside, such as a `MessagePort`; and with it the types that it mentions.
 */
import ts from "typescript-5.9"

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  allowImportingTsExtensions: true,
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  types: []
}

/** `folder`: the sources of the program; `entry` is one of them. */
export const ownNames = (folder: string, entry: string): ReadonlySet<string> => {
  const program = ts.createProgram([entry], options)
  const checker = program.getTypeChecker()
  const isOfProgram = ({ fileName }: ts.SourceFile): boolean =>
    fileName.startsWith(folder) && !fileName.includes("/node_modules/")
  const nodes = program.getSourceFiles().filter(isOfProgram).flatMap(nodesIn)

  const basesOf = (node: ts.ClassLikeDeclaration | ts.InterfaceDeclaration): ReadonlyArray<ts.Symbol> =>
    Array.from(node.heritageClauses ?? [])
      .flatMap(({ types }) => types.map(({ expression }) => checker.getTypeAtLocation(expression).symbol))
      .filter((each) => each !== undefined)
  const implemented = new Set(nodes.filter(ts.isClassLike).flatMap(basesOf))
  // What is added is visited, too.
  for (const symbol of implemented)
    for (const each of (symbol.declarations ?? []).filter(ts.isInterfaceDeclaration).flatMap(basesOf))
      implemented.add(each)

  const declarationsOf = (
    type: ts.TypeReferenceNode | ts.ExpressionWithTypeArguments
  ): ReadonlyArray<ts.Declaration> => {
    const symbol = checker.getSymbolAtLocation(ts.isTypeReferenceNode(type) ? type.typeName : type.expression)
    const meant = symbol && (symbol.flags & ts.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(symbol) : symbol
    return (meant?.declarations ?? []).filter(
      (each) => ts.isInterfaceDeclaration(each) || ts.isTypeAliasDeclaration(each)
    )
  }
  const asserted = nodes.flatMap((node) =>
    ts.isAsExpression(node) || ts.isTypePredicateNode(node) ? nodesIn(node.type ?? node) : []
  )
  const foreign = new Set(asserted)
  for (const node of foreign)
    if (ts.isTypeReferenceNode(node) || ts.isExpressionWithTypeArguments(node))
      for (const each of declarationsOf(node).filter((declaration) => isOfProgram(declaration.getSourceFile())))
        for (const inside of nodesIn(each)) foreign.add(inside)

  const isOwn = (declaration: ts.Declaration): boolean => {
    const { parent } = declaration
    if (!isOfProgram(declaration.getSourceFile())) return false
    return !foreign.has(parent) || implemented.has(checker.getTypeAtLocation(parent).symbol)
  }
  const own = new Set<string>()
  const others = new Set<string>()
  for (const [name, symbol] of nodes.flatMap((node) => usesIn(node, checker))) {
    const { declarations = [] } = symbol ?? {}
    const names = declarations.length > 0 && declarations.every(isOwn) ? own : others
    names.add(name)
  }
  return own.difference(others)
}

const nodesIn = (node: ts.Node): ReadonlyArray<ts.Node> => {
  const nodes = [node]
  // What is added is visited, too.
  for (const each of nodes) each.forEachChild((child) => void nodes.push(child))
  return nodes
}

type Use = readonly [name: string, symbol: ts.Symbol | undefined]

/** The use of a property that a node is, and what it means: `a.name`, `{ name } = a` or `{ name: a }`. */
const usesIn = (node: ts.Node, checker: ts.TypeChecker): ReadonlyArray<Use> => {
  if (ts.isPropertyAccessExpression(node)) return [[node.name.text, checker.getSymbolAtLocation(node.name)]]
  if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent)) {
    const name = node.propertyName ?? node.name
    if (!ts.isIdentifier(name)) return []
    return [[name.text, checker.getTypeAtLocation(node.parent).getProperty(name.text)]]
  }
  if (
    ts.isObjectLiteralElement(node) &&
    ts.isObjectLiteralExpression(node.parent) &&
    node.name !== undefined &&
    ts.isIdentifier(node.name)
  ) {
    const wanted = checker.getContextualType(node.parent)
    const isUnknown = wanted !== undefined && (wanted.flags & ts.TypeFlags.Any) !== 0
    const { text } = node.name
    return [[text, isUnknown ? undefined : (wanted?.getProperty(text) ?? checker.getSymbolAtLocation(node.name))]]
  }
  return []
}
