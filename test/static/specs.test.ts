import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const SPECS = join(ROOT, "docs/specs");

/** "Enforced by: `name` in `file`, ..." below each invariant. */
function citations(spec: string): { readonly name: string; readonly file: string }[] {
  return spec
    .split("\n")
    .filter((line) => line.startsWith("Enforced by:"))
    .flatMap((line) => [...line.matchAll(/`([^`]+)` in `([^`]+)`/g)].map(([, name, file]) => ({ name: name!, file: file! })));
}

function missing(spec: string): string[] {
  return citations(spec).flatMap(({ name, file }) => (readFileSync(join(ROOT, file), "utf8").includes(name) ? [] : [`${file}: ${name}`]));
}

describe.each(readdirSync(SPECS).filter((name) => name.endsWith(".md")))("the specification %s", (name) => {
  const spec = readFileSync(join(SPECS, name), "utf8");

  test("names tests that exist", () => {
    expect(missing(spec)).toEqual([]);
  });

  test("names a test for each invariant", () => {
    const invariants = [...spec.matchAll(/^I(\d+)\. .*\n(.*)$/gm)];
    expect(invariants.filter(([, , enforcement]) => citations(enforcement!).length === 0).map(([line]) => line)).toEqual([]);
    expect(invariants.map(([, number]) => Number(number))).toEqual(invariants.map((_, i) => i + 1));
  });
});

test("a name that stands in no test is noticed", () => {
  expect(missing("Enforced by: `a promise that nobody keeps` in `test/static/imports.test.ts`")).toHaveLength(1);
});
