import { crc32c as native } from "@node-rs/crc32";
import fc from "fast-check";
import { expect, test } from "vitest";
import { crc32c } from "#shared/clients/kafka/crc32c.ts";

test("without native code the checksum is the same, over any bytes at any place in their buffer", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(9), fc.integer({ min: 0, max: 9_000 }), (seed, skew, size) => {
      const bytes = new Uint8Array(skew + size).map((_, i) => (seed[i % (seed.length + 1)] ?? 7) + i * 31).subarray(skew);
      expect(crc32c(bytes)).toBe(native(bytes));
      const cut = seed.length % (bytes.length + 1);
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(native(bytes));
    }),
    { numRuns: 300 },
  );
});

test("of the standard's example (RFC 3720, B.4)", () => {
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
});
