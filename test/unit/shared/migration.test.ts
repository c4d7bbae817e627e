import { describe, expect, test } from "vitest";
import { type Migration, pendingMigrations } from "#shared/kernel/migration.ts";

const file = (name: string): Migration => ({ name, sql: `-- ${name}`, checksum: `sum of ${name}` });
const FILES = ["0001_a", "0002_b", "0003_c"].map(file);

describe("pending migrations", () => {
  test.each([0, 1, 2, 3])("are those behind the %i applied ones, in order", (applied) => {
    expect(pendingMigrations("a store", FILES, FILES.slice(0, applied))).toEqual(FILES.slice(applied));
  });

  test.each([
    ["changed", FILES, [{ name: "0001_a", checksum: "other" }], "0001_a of a store was changed"],
    ["renamed", FILES, [FILES[0]!, file("0002_x")], "0002_x of a store has been applied, but the files have 0002_b"],
    ["removed", FILES.slice(0, 1), FILES.slice(0, 2), "0002_b of a store has been applied, but the files have nothing"],
    ["put in between", [file("0000_new"), ...FILES], FILES, "0001_a of a store has been applied, but the files have 0000_new"],
  ])("an applied one that was %s is refused by name", (_, files, applied, message) => {
    expect(() => pendingMigrations("a store", files, applied)).toThrow(expect.objectContaining({ code: "MIGRATION_DRIFT" }) as Error);
    expect(() => pendingMigrations("a store", files, applied)).toThrow(message);
  });
});
