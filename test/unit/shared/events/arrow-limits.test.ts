import { expect, test } from "vitest";
import { FlatBuilder } from "#shared/events/arrow/flatbuffer.ts";
import { decodeBlock } from "#shared/events/block.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

/** A stream that begins with a schema whose items, many of them, all point at one long text. */
function repeating(part: "fields" | "metadata"): Uint8Array {
  const builder = new FlatBuilder();
  const long = builder.string("x".repeat(300_000));
  const item =
    part === "fields"
      ? builder.table([["ref", long], null, ["u8", 4], ["ref", builder.table([])]])
      : builder.table([["ref", long], ["ref", long]]); // prettier-ignore
  const many = builder.refs(Array.from({ length: 100_000 }, () => item));
  const none = builder.refs([]);
  const header = part === "fields" ? builder.table([null, ["ref", many]]) : builder.table([null, ["ref", none], ["ref", many]]);
  const message = builder.finish(builder.table([["i16", 4], ["u8", 1], ["ref", header]])); // prettier-ignore
  const stream = new Uint8Array(message.length + 16);
  const view = new DataView(stream.buffer);
  view.setUint32(0, 0xffffffff, true);
  view.setInt32(4, message.length, true);
  stream.set(message, 8);
  view.setUint32(message.length + 8, 0xffffffff, true);
  return stream;
}

test("metadata that repeats one long text without end is refused before it is read 100,000 times", { timeout: 5_000 }, () => {
  for (const part of ["fields", "metadata"] as const) {
    expect(() => decodeBlock(repeating(part)), part).toThrow(CorruptStateError);
  }
});
