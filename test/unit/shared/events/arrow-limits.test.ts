import { expect, test } from "vitest";
import { FlatBuilder } from "#shared/events/arrow/flatbuffer.ts";
import { decodeColumns } from "#shared/events/arrow/reader.ts";
import { defineSchema } from "#shared/events/arrow/schema.ts";
import { encodeColumns } from "#shared/events/arrow/writer.ts";
import { decodeBlock } from "#shared/events/block.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

test("a schema whose 100,000 fields all share one long name is refused before the name is read so often", { timeout: 5_000 }, () => {
  const builder = new FlatBuilder();
  const name = builder.string("x".repeat(300_000));
  const type = builder.table([]);
  const field = builder.table([
    ["ref", name],
    ["u8", 1],
    ["u8", 5],
    ["ref", type],
  ]);
  const header = builder.table([null, ["ref", builder.refs(Array.from({ length: 100_000 }, () => field))]]);
  const message = builder.finish(
    builder.table([
      ["i16", 4],
      ["u8", 1],
      ["ref", header],
    ]),
  );
  const stream = new Uint8Array(message.length + 16);
  const view = new DataView(stream.buffer);
  view.setUint32(0, 0xffffffff, true);
  view.setInt32(4, message.length, true);
  stream.set(message, 8);
  view.setUint32(message.length + 8, 0xffffffff, true);
  expect(() => decodeBlock(stream)).toThrow(CorruptStateError);
});

test("metadata has as many pairs as a writer of ours may need, and no stream with more is read", () => {
  const schema = defineSchema([{ name: "n", type: "uint8" }]);
  const streamOf = (pairs: number): Uint8Array =>
    encodeColumns(
      schema,
      1,
      [new Uint8Array(1)],
      Array.from({ length: pairs }, (_, i) => [`k${i}`, String(i)] as const),
    );
  expect(decodeColumns(schema, streamOf(1_024)).metadata.get("k1023")).toBe("1023");
  expect(() => decodeColumns(schema, streamOf(1_025))).toThrow(CorruptStateError);
});
