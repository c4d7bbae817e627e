import fc from "fast-check";
import { expect, test } from "vitest";
import { IdentityIndex } from "#shared/ledger/identity-index.ts";

test("the index agrees with a Map, through every growth", () => {
  // Ids out of a small alphabet: many repeat, many share all but one byte.
  const id = fc.uint8Array({ minLength: 16, maxLength: 16, max: 2 });
  fc.assert(
    fc.property(fc.array(id, { maxLength: 4_000, size: "max" }), (ids) => {
      const index = new IdentityIndex();
      const model = new Map<string, number>();
      for (const [position, bytes] of ids.entries()) {
        const name = bytes.join();
        const row = index.add(bytes, 0, { sourceOffset: position, logTimeMs: 2 * position });
        const known = model.get(name);
        if (known === undefined) {
          expect(row).toBe(-1);
          model.set(name, position);
        } else expect(index.sourceOffset(row)).toBe(known);
      }
      expect(index.rows).toBe(model.size);
      for (const bytes of ids) expect(index.sourceOffset(index.find(bytes, 0))).toBe(model.get(bytes.join()));
      expect(index.find(new Uint8Array(16).fill(255), 0)).toBe(-1);
    }),
    { numRuns: 30 },
  );
});
