/** Objects written by earlier releases, kept for ever: each must open, and say what it said then. First line the sha256 of its name, then base64. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openSnapshot, sealSnapshot, zstdCodec } from "#processor/checkpoint/snapshot-codec.ts";
import { snapshotKey } from "#processor/checkpoint/snapshot-key.ts";

function golden(name: string): { readonly sha256: string; readonly object: Uint8Array } {
  const [sha256 = "", ...lines] = readFileSync(join(import.meta.dirname, "../../support/golden", name), "utf8").split("\n");
  return { sha256, object: Buffer.from(lines.join(""), "base64") };
}

const { sha256, object } = golden("snapshot-object-1.txt");
const ref = { key: snapshotKey("snapshots/live-1/3/", 99, sha256), offset: 99, sha256, createdAtMs: 0 };

test("an object of format 1 opens, with the header and the state that went in", async () => {
  const { header, state } = await openSnapshot(zstdCodec, ref, object);
  expect(header).toMatchObject({ v: 1, lane: "live", generation: 1, partition: 3, offset: 99, foldVersion: 1, stateBytes: 3_000 });
  expect(header.progress).toMatchObject({ hw: 41, hash: "0123456789abcdef", counts: { raw: 42, clean: 40 } });
  expect([...state]).toEqual(Array.from({ length: 3_000 }, (_, i) => ((i * i) >>> 3) & 255));
});

test("the same header and state have the same name today", async () => {
  const { header, state } = await openSnapshot(zstdCodec, ref, object);
  expect((await sealSnapshot(zstdCodec, header, state)).sha256).toBe(sha256);
});

test("no byte of it can change unnoticed", async () => {
  for (let at = 0; at < object.length; at += 1) {
    const damaged = Uint8Array.from(object);
    damaged[at] = damaged[at]! ^ 0x40;
    await expect(openSnapshot(zstdCodec, ref, damaged), `byte ${at}`).rejects.toMatchObject({ code: "SNAPSHOT_CORRUPT" });
  }
});
