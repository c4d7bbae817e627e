import { describe, expect, test } from "vitest";
import { openSnapshot, sealSnapshot, zstdCodec } from "#processor/checkpoint/snapshot-codec.ts";
import { parseSnapshotKey, snapshotKey, snapshotPrefix } from "#processor/checkpoint/snapshot-key.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";
import { PROGRESS } from "./start-facts.ts";

const state = Uint8Array.from({ length: 50_000 }, (_, i) => (i * i) >> 7);
const header = {
  v: 1,
  lane: "live",
  generation: 1,
  partition: 3,
  offset: 40,
  foldVersion: 1,
  progress: PROGRESS,
  stateBytes: state.length,
} as const;

async function sealed(): Promise<{ object: Buffer; ref: { key: string; offset: number; sha256: string; createdAtMs: number } }> {
  const { parts, sha256 } = await sealSnapshot(zstdCodec, header, state);
  return { object: Buffer.concat(parts), ref: { key: snapshotKey("snapshots/live-1/3/", 40, sha256), offset: 40, sha256, createdAtMs: 0 } };
}

describe("a snapshot object", () => {
  test("gives back header and state, smaller on the way", async () => {
    const { object, ref } = await sealed();
    const opened = await openSnapshot(zstdCodec, ref, object);
    expect(opened.header).toEqual(header);
    expect(Buffer.from(opened.state).equals(state)).toBe(true);
    expect(object.length).toBeLessThan(state.length);
  });

  test("has one name for one state, whatever compressed it", async () => {
    const plain = { ...zstdCodec, compress: (bytes: Uint8Array) => Promise.resolve(bytes) };
    expect((await sealSnapshot(plain, header, state)).sha256).toBe((await sealed()).ref.sha256);
    expect((await sealSnapshot(zstdCodec, { ...header, offset: 41 }, state)).sha256).not.toBe((await sealed()).ref.sha256);
  });

  test("is refused by name when any byte differs", async () => {
    const { object, ref } = await sealed();
    for (let at = 0; at < object.length; at += 1 + Math.floor(object.length / 200)) {
      const damaged = Buffer.from(object);
      damaged[at]! ^= 0x10;
      const opened = await openSnapshot(zstdCodec, ref, damaged).then(
        ({ state: bytes }) => Buffer.from(bytes),
        (thrown: unknown) => thrown,
      );
      // A flipped bit in what zstd leaves unused may still unpack to the very state; nothing else may pass.
      if (opened instanceof Buffer) expect(opened.equals(state)).toBe(true);
      else expect(opened).toBeInstanceOf(CorruptStateError);
    }
  });

  test("is refused by name wherever it is torn", async () => {
    const { object, ref } = await sealed();
    for (const length of [0, 7, 11, 100, object.length - 1]) {
      await expect(openSnapshot(zstdCodec, ref, object.subarray(0, length))).rejects.toMatchObject({ code: "SNAPSHOT_CORRUPT" });
    }
  });
});

describe("a snapshot's key", () => {
  test("sorts by offset and reads back", () => {
    const prefix = snapshotPrefix({ lane: "live", generation: 2 }, 11);
    const keys = [9, 10, 2 ** 40].map((offset) => snapshotKey(prefix, offset, "b".repeat(64)));
    expect(keys[0]).toBe(`snapshots/live-2/11/00000000000000000009-${"b".repeat(64)}.snap`);
    expect(keys.toSorted()).toEqual(keys);
    expect(keys.map((key) => parseSnapshotKey(key)?.offset)).toEqual([9, 10, 2 ** 40]);
  });

  test.each(["x.snap", "00000000000000000009-abc.snap", ".tmp-0011", `00000000000000000009-${"b".repeat(64)}.snap.gz`])(
    "%s is none",
    (name) => {
      expect(parseSnapshotKey(`snapshots/live-1/0/${name}`)).toBeNull();
    },
  );
});
