import { expect, it } from "vitest"
import { withAddresses } from "./addresses.ts"

const manifest = { name: "a", version: "1.0.0" }

it("fills in the addresses of a package from the repository alone", () => {
  const expected = {
    ...manifest,
    repository: { type: "git", url: "git+https://host.example/owner/name.git", directory: "packages/a" },
    homepage: "https://host.example/owner/name/tree/main/packages/a#readme",
    bugs: "https://host.example/owner/name/issues"
  }
  expect(withAddresses(manifest, { repository: "https://host.example/owner/name" }, "packages/a")).toEqual(expected)
  expect(withAddresses(manifest, { repository: "https://host.example/owner/name.git" }, "packages/a")).toEqual(expected)
})

it("takes the site as the home page, if there is one", () => {
  const addresses = { repository: "https://host.example/owner/name", homepage: "https://site.example/" }
  expect(withAddresses(manifest, addresses, "packages/a")["homepage"]).toBe("https://site.example/")
})

it.each([undefined, "", "owner/name", "https://host.example/", "git@host.example:owner/name"])(
  "refuses to release without an address: %s",
  (repository) => {
    expect(() => withAddresses(manifest, repository === undefined ? {} : { repository }, "packages/a")).toThrow(
      'package.json at the root needs "repository"'
    )
  }
)
