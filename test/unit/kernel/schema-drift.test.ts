import { expect, test } from "vitest";
import { compareSchemas, describeDrift } from "#shared/kernel/schema-drift.ts";

const EXPECTED = new Map([
  ["table a: column x", "int"],
  ["table a: column y", "text"],
]);
const isOurs = (what: string): boolean => what.startsWith("table a:");

test("equal schemas have no drift, whatever stands beside them", () => {
  expect(compareSchemas(EXPECTED, new Map([...EXPECTED, ["table b: column z", "int"]]), isOurs)).toEqual([]);
});

test("what is missing, changed and added is told apart, and shown as a diff", () => {
  const found = new Map([
    ["table a: column y", "varchar"],
    ["table a: column z", "int\nNOT NULL"],
  ]);
  const drifts = compareSchemas(EXPECTED, found, isOurs);
  expect(drifts).toEqual([
    { what: "table a: column x", expected: "int", found: null },
    { what: "table a: column y", expected: "text", found: "varchar" },
    { what: "table a: column z", expected: null, found: "int\nNOT NULL" },
  ]);
  expect(describeDrift(drifts)).toBe(
    "table a: column x\n  - int\ntable a: column y\n  - text\n  + varchar\ntable a: column z\n  + int\n  + NOT NULL\n",
  );
});
