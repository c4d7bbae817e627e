import { describe, expect, test } from "vitest";
import { progressDifference, resolveStart, snapshotFlaw } from "#processor/checkpoint/resolve.ts";
import type { Refusal, StartFacts } from "#processor/checkpoint/types.ts";
import { facts, PROGRESS, snapshotAt } from "./start-facts.ts";

function replayFrom(more: Partial<StartFacts>): number | string {
  const verdict = resolveStart(facts(more));
  return verdict.kind === "replay" ? verdict.from : verdict.kind === "refuse" ? verdict.refusal : verdict.kind;
}

describe("where a partition starts", () => {
  test("an untouched partition starts empty at 0", () => {
    expect(resolveStart(facts({ committed: "none" }))).toEqual({ kind: "fresh" });
  });

  test("the newest snapshot at or below the committed offset is replayed up to it", () => {
    const snapshots = [snapshotAt(10), snapshotAt(40), snapshotAt(20)];
    expect(resolveStart(facts({ snapshots }))).toEqual({
      kind: "replay",
      snapshot: snapshots[1],
      from: 40,
      to: 50,
      expected: PROGRESS,
      rewrite: false,
    });
  });

  test("a snapshot at the committed offset leaves nothing to replay", () => {
    expect(replayFrom({ snapshots: [snapshotAt(50)] })).toBe(50);
  });

  test("a snapshot newer than the committed offset is no commit point and is skipped", () => {
    expect(replayFrom({ snapshots: [snapshotAt(40), snapshotAt(51)] })).toBe(40);
  });

  test("a distrusted snapshot gives way to the next older one", () => {
    expect(replayFrom({ snapshots: [snapshotAt(40), snapshotAt(20)], distrusted: new Set([snapshotAt(40).key]) })).toBe(20);
  });

  test("of two snapshots of one offset each gets its turn", () => {
    const snapshots = [snapshotAt(40, "a"), snapshotAt(40, "b")];
    const first = resolveStart(facts({ snapshots }));
    expect(first).toMatchObject({ snapshot: snapshots[1] });
    expect(resolveStart(facts({ snapshots, distrusted: new Set([snapshots[1]!.key]) }))).toMatchObject({ snapshot: snapshots[0] });
  });

  test("without a snapshot the whole log is replayed, as long as it is whole", () => {
    expect(replayFrom({})).toBe(0);
    expect(replayFrom({ logStart: 1 })).toBe("no-usable-snapshot");
  });

  test("a snapshot below the start of the log cannot be continued", () => {
    expect(replayFrom({ logStart: 20, snapshots: [snapshotAt(19)] })).toBe("no-usable-snapshot");
    expect(replayFrom({ logStart: 20, snapshots: [snapshotAt(20)] })).toBe(20);
  });

  test("another fold version takes over only at a snapshot of the committed offset, and writes its own there", () => {
    expect(replayFrom({ foldVersion: 2, snapshots: [snapshotAt(40)] })).toBe("fold-version");
    expect(resolveStart(facts({ foldVersion: 2, snapshots: [snapshotAt(40), snapshotAt(50)] }))).toMatchObject({ from: 50, rewrite: true });
  });
});

describe("a start is refused, with a reason and a command,", () => {
  const cases: readonly (readonly [string, Partial<StartFacts>, Refusal, RegExp])[] = [
    ["when outputs exist without a committed offset", { committed: "none", outputs: ["clean"] }, "progress-lost", /rebuild-progress 0/],
    [
      "when snapshots exist without a committed offset",
      { committed: "none", snapshots: [snapshotAt(10)] },
      "progress-lost",
      /rebuild-progress 0/,
    ],
    ["when the committed offset carries no progress", { committed: "unreadable" }, "progress-unreadable", /rebuild-progress 0/],
    ["when unread input is gone", { logStart: 51 }, "input-lost", /WEIR_GENERATION=2/],
    ["when the log ends before the committed offset", { logEnd: 49 }, "position-beyond-log", /WEIR_GENERATION=2/],
    ["when nothing is committed and the log is cut", { committed: "none", logStart: 5 }, "no-usable-snapshot", /WEIR_LANE/],
    ["when no snapshot lies above the cut", { logStart: 30, snapshots: [snapshotAt(20)] }, "no-usable-snapshot", /backup/],
    ["when an older fold version committed and left no snapshot there", { foldVersion: 2 }, "fold-version", /SIGTERM/],
  ];
  test.each(cases)("%s", (_, more, refusal, fix) => {
    expect(resolveStart(facts(more))).toMatchObject({ kind: "refuse", refusal, fix: expect.stringMatching(fix) as string });
  });
});

describe("progress after replay", () => {
  test("equal progress is no difference", () => {
    expect(progressDifference(structuredClone(PROGRESS), PROGRESS)).toBeNull();
  });

  test.each([
    ["hash", { ...PROGRESS, hash: "f".repeat(16) }],
    ["hw", { ...PROGRESS, hw: 98 }],
    ["watermarkMs", { ...PROGRESS, watermarkMs: null }],
    ["oseq of dlq", { ...PROGRESS, oseq: { ...PROGRESS.oseq, dlq: 11 } }],
    ["count late", { ...PROGRESS, counts: { ...PROGRESS.counts, late: 5 } }],
  ])("another %s is named", (name, reached) => {
    expect(progressDifference(reached, PROGRESS)).toContain(name);
  });
});

describe("a snapshot's header", () => {
  const expected = { lane: "live", generation: 1, partition: 0, offset: 40 };
  const header = { ...expected, v: 1, foldVersion: 1, progress: PROGRESS, stateBytes: 3 } as const;

  test("of the same place has no flaw", () => {
    expect(snapshotFlaw(header, expected)).toBeNull();
  });

  test.each(["lane", "generation", "partition", "offset"] as const)("of another %s is told", (field) => {
    expect(snapshotFlaw(header, { ...expected, [field]: field === "lane" ? "history" : 77 })).toContain(field);
  });
});
