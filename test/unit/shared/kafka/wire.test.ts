import { describe, expect, test } from "vitest";
import { WireReader, WireWriter } from "#shared/clients/kafka/wire.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

const bodyOf = (write: (body: WireWriter) => unknown): Buffer => {
  const body = new WireWriter();
  write(body);
  return Buffer.concat(body.finish());
};

describe("the wire", () => {
  test.each([0, -1, -2, 1, 2 ** 31, -(2 ** 31), 2 ** 32 - 1, 2 ** 53 - 1, -(2 ** 53 - 1)])("carries the 64-bit number %d", (value) => {
    const bytes = bodyOf((body) => body.int64(value));
    expect(bytes.readBigInt64BE()).toBe(BigInt(value));
    expect(new WireReader(bytes).int64()).toBe(value);
  });

  test.each([0, 1, 127, 128, 300, 2 ** 31, 2 ** 32 - 1])("carries the varint %d", (value) => {
    expect(new WireReader(bodyOf((body) => body.unsignedVarint(value))).unsignedVarint()).toBe(value);
  });

  test("carries strings, absent ones too, and values of any size in order", () => {
    const large = Buffer.alloc(100_000, "x");
    const bytes = bodyOf((body) => body.string("größe").string(null).bytes(large).bytes(Buffer.from("y")).string("").tags());
    const reader = new WireReader(bytes);
    expect([reader.nullableString(), reader.nullableString()]).toEqual(["größe", null]);
    expect(reader.nullableBytes()!.equals(large)).toBe(true);
    expect(reader.nullableBytes()!.toString()).toBe("y");
    expect(reader.string()).toBe("");
    reader.tags();
    expect(() => reader.int8()).toThrow(CorruptStateError);
  });

  test("passes large values on without a copy", () => {
    const large = Buffer.alloc(100_000);
    const pieces = new WireWriter().int8(1).pieces([large], large.length).int8(2).finish();
    expect(pieces).toHaveLength(3);
    expect(pieces[1]).toBe(large);
  });

  test("skips tagged fields that it does not know", () => {
    const bytes = Buffer.from([2, 5, 2, 0xaa, 0xbb, 7, 1, 0xcc, 42]);
    const seen: number[] = [];
    const reader = new WireReader(bytes);
    reader.tags((tag) => seen.push(tag));
    expect(seen).toEqual([5, 7]);
    expect(reader.int8()).toBe(42);
  });

  test("refuses an answer that is cut short", () => {
    const bytes = bodyOf((body) => body.string("events.raw"));
    expect(() => new WireReader(bytes.subarray(0, 5)).string()).toThrow(CorruptStateError);
  });
});
