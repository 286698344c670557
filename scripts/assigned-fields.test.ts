import { expect, it } from "vitest"
import { withoutAssigned } from "./assigned-fields.ts"

it.for([
  ["class A { a; constructor(a) { this.a = a } }", "class A {  constructor(a) { this.a = a } }"],
  [
    "const A = class extends B { a; b = 1; constructor(a) { super(); f(); this.a = a } }",
    "const A = class extends B {  b = 1; constructor(a) { super(); f(); this.a = a } }"
  ],
  [
    "class A {\n\ta;\n\tb;\n\tconstructor(a) {\n\t\tthis.b = this.a = a;\n\t}\n}",
    "class A {\n\ta;\n\t\n\tconstructor(a) {\n\t\tthis.b = this.a = a;\n\t}\n}"
  ]
] as const)("%s", ([from, to]) => {
  expect(withoutAssigned(from).toString()).toBe(to)
})

it.for([
  "class A { a; }",
  "class A { a = 1; constructor() { this.a = 2 } }",
  "class A { a; constructor(b) { if (b) this.a = b } }",
  "class A { a; constructor(b) { b.a = 1 } }",
  "class A { a; constructor() { this.a += 1 } }",
  "class A { a; set(a) { this.a = a } }",
  "class A { static a; constructor(a) { this.a = a } }",
  "class A { [a]; constructor(b) { this.a = b } }"
])("stays: %s", (module) => {
  expect(withoutAssigned(module).toString()).toBe(module)
})
