import { existsSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ENTRY_BYTES, IdentitySpill } from "#shared/ledger/identity-spill.ts";

function read(spill: IdentitySpill): { readonly id: string; readonly position: number; readonly bucket: number }[] {
  return [...spill.entries()].flatMap((entries, bucket) =>
    Array.from({ length: entries.length / ENTRY_BYTES }, (_, i) => ({
      id: entries.toString("hex", i * ENTRY_BYTES, i * ENTRY_BYTES + 16),
      position: entries.readDoubleLE(i * ENTRY_BYTES + 16),
      bucket,
    })),
  );
}

test("what goes in comes out once, equal ids in one bucket and in their order, in memory and from files", () => {
  const id = fc.uint8Array({ minLength: 16, maxLength: 16, max: 3 });
  fc.assert(
    fc.property(fc.array(id, { maxLength: 300 }), fc.constantFrom(1, 3_000_000), (ids, expectedRows) => {
      const spill = new IdentitySpill(expectedRows);
      try {
        for (const [position, bytes] of ids.entries()) spill.add(bytes, 0, position, position);
        const found = read(spill);
        expect(found.map(({ position }) => position).toSorted((a, b) => a - b)).toEqual(ids.map((_, position) => position));
        for (const { id: name, position } of found) expect(name).toBe(Buffer.from(ids[position]!).toString("hex"));
        const groups = Object.values(Object.groupBy(found, ({ id: name }) => name));
        for (const group of groups) {
          expect(new Set(group!.map(({ bucket }) => bucket)).size).toBe(1);
          expect(group!.map(({ position }) => position)).toEqual(group!.map(({ position }) => position).toSorted((a, b) => a - b));
        }
      } finally {
        spill.close();
      }
    }),
    { numRuns: 50 },
  );
});

test("a million ids go to files, come back whole, and leave nothing behind", () => {
  const spill = new IdentitySpill(1_000_000);
  const id = Buffer.alloc(16);
  for (let i = 0; i < 1_000_000; i++) {
    id.writeUInt32LE(Math.imul(i, 2_654_435_761) >>> 0, 0);
    spill.add(id, 0, i, 0);
  }
  const folder = spill.folder!;
  expect(existsSync(folder)).toBe(true);
  expect(spill.bucketCount).toBeGreaterThan(1);
  let rows = 0;
  let sum = 0;
  for (const entries of spill.entries()) {
    for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
      rows++;
      sum += entries.readDoubleLE(at + 16);
    }
  }
  expect({ rows, sum }).toEqual({ rows: 1_000_000, sum: (1_000_000 * 999_999) / 2 });
  spill.close();
  expect(existsSync(folder)).toBe(false);
});
