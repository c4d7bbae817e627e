import { describe, expect, test } from "vitest";
import { openSnapshot, sealSnapshot, zstdCodec } from "#processor/checkpoint/snapshot-codec.ts";
import { SnapshotSealer } from "#processor/checkpoint/snapshot-sealer.ts";
import type { SnapshotHeader } from "#processor/checkpoint/types.ts";
import { createFold, restoreFold } from "#processor/fold/partition-fold.ts";
import type { PartitionFold } from "#processor/model/ports.ts";
import { settles } from "#test/support/process.ts";
import { eventColumns } from "#test/support/event-batch.ts";

const OPTIONS = {
  generation: 1,
  partition: 0,
  historical: false,
  outOfOrdernessMs: 1_000,
  idleMarginMs: 1_000,
  dedupHorizonMs: 60_000,
  cutRows: 100,
  cutMs: 1_000,
};
const START_MS = 1_700_000_000_000;

function foldOf(rows: number): PartitionFold {
  const fold = createFold(OPTIONS);
  const content = Array.from({ length: rows }, (_, i) => ({
    sourceOffset: i,
    eventId: i + 1,
    eventTimeMs: START_MS + i,
    userId: 1 + (i % 97),
    sessionId: "s",
    value: i,
  }));
  fold.applyColumns(eventColumns(content), START_MS, { topic: "events.raw", partition: 0, rulesVersion: 1 });
  fold.takeOutputs();
  return fold;
}

function headerOf(fold: PartitionFold, stateBytes: number): SnapshotHeader {
  return { v: 1, lane: "live", generation: 1, partition: 0, offset: 7, foldVersion: 1, progress: fold.progress(), stateBytes };
}

const roomFor = (sealer: SnapshotSealer, fold: PartitionFold): Promise<Uint8Array> =>
  settles(() => {
    const copy = fold.copyState!((sizeBytes) => sealer.room(sizeBytes));
    expect(copy).not.toBeNull();
    while (!copy!.step(4_096));
    return copy!.state;
  });

describe("a snapshot sealed in another thread", () => {
  test("has the name and content that the fold's own thread would have given it, also in a room that held another state", async () => {
    const sealer = new SnapshotSealer();
    // The larger first, so that the smaller one is copied over what it left.
    for (const rows of [5_000, 50, 3_000]) {
      const fold = foldOf(rows);
      const whole = fold.snapshot();
      const header = headerOf(fold, whole.length);
      const expected = await sealSnapshot(zstdCodec, header, whole);
      const sealed = await sealer.seal(header, await roomFor(sealer, fold));
      expect(sealed.sha256).toBe(expected.sha256);
      expect(sealed.parts.slice(0, 2).map((part) => Buffer.from(part))).toEqual(
        expected.parts.slice(0, 2).map((part) => Buffer.from(part)),
      );
      const ref = { key: "k", offset: 7, sha256: sealed.sha256, createdAtMs: 0 };
      const opened = await openSnapshot(zstdCodec, ref, Buffer.concat(sealed.parts));
      expect(Buffer.from(restoreFold(OPTIONS, opened.state).snapshot()).equals(whole)).toBe(true);
    }
  });

  test("gets no room before the thread has touched it, and the fold goes on meanwhile", async () => {
    const sealer = new SnapshotSealer();
    const fold = foldOf(10);
    expect(fold.copyState!((sizeBytes) => sealer.room(sizeBytes))).toBeNull();
    sealer.drop(await roomFor(sealer, fold));
    // Given back: there is one at once.
    expect(fold.copyState!((sizeBytes) => sealer.room(sizeBytes))).not.toBeNull();
  });
});
