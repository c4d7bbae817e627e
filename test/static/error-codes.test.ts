import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const PARTS = ["functions", "shared", "processor", "sinks", "local", "loadgen", "backup", "cli", "dashboard"];

function codesInSource(): Set<string> {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", ...PARTS.map((part) => `${part}/**.ts`)], {
    cwd: ROOT,
    encoding: "utf8",
  });
  const codes = new Set<string>();
  for (const file of files.split("\n").filter((name) => name !== "")) {
    for (const [, code] of readFileSync(join(ROOT, file), "utf8").matchAll(/\bcode: "([A-Z][A-Z0-9_]+)"/g)) codes.add(code!);
  }
  return codes;
}

test("every error code that a user can meet has its line in docs/OPERATIONS.md, and no line is of a code that is gone", () => {
  const documented = [...readFileSync(join(ROOT, "docs/OPERATIONS.md"), "utf8").matchAll(/^\| `([A-Z][A-Z0-9_]+)` +\|/gm)].map(
    ([, code]) => code!,
  );
  const codes = codesInSource();
  expect(codes.size).toBeGreaterThan(40);
  expect([...codes].filter((code) => !documented.includes(code))).toEqual([]);
  // KAFKA_REFUSED is the default of BrokerError, which names it otherwise.
  expect(documented.filter((code) => !codes.has(code) && code !== "KAFKA_REFUSED")).toEqual([]);
});
