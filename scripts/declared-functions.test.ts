import { expect, it } from "vitest"
import { declared } from "./declared-functions.ts"

it.for([
  ["const f = (a) => a + 1;", "function f(a) { return ( a + 1) }"],
  ["const f = async ({ a }, ...b) => { await a };", "async function f({ a }, ...b) { await a }"],
  ["const f = () => ({ a: 1 });", "function f() { return ( ({ a: 1 })) }"],
  ["const f = (a = () => 1) => a();", "function f(a = () => 1) { return ( a()) }"],
  ["const f = (a) => (b) => a + b;", "function f(a) { return ( (b) => a + b) }"],
  ["const f = (\n\ta\n) => {\n\treturn a;\n};\nf(1);", "function f(\n\ta\n) {\n\treturn a;\n}\nf(1);"]
] as const)("%s", ([from, to]) => {
  expect(declared(from).toString()).toBe(to)
})

it.for([
  "const f = () => this;",
  "const f = () => () => arguments;",
  "let f = () => 1;",
  "const f = [() => 1];",
  "const f = () => 1, g = 2;",
  "const { f } = () => 1;",
  "f(() => 1);"
])("stays: %s", (module) => {
  expect(declared(module).toString()).toBe(module)
})
