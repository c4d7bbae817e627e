/** The command that gives a partition its position back, against tries of a processor that come between. */
import { describe, expect, test } from "vitest";
import { rebuildProgress } from "#processor/runtime/rebuild-progress.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { HEADERS } from "#shared/events/names.ts";
import { FencedError, OperatingError } from "#shared/kernel/errors.ts";
import { facts } from "./start-facts.ts";

const OFFSET = 12;
const committed = facts().committed;
if (typeof committed === "string") throw new Error("the facts hold a position");
const { progress } = committed;
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const output = {
  offset: 0,
  headers: [
    [HEADERS.generation, text("1")],
    [HEADERS.progress, text(JSON.stringify({ ...progress, offset: OFFSET }))],
  ],
};

/** A broker on which the first producers are fenced before they commit. */
function kafkaFencing(
  times: number,
  at: "offsets" | "end" = "offsets",
): { readonly kafka: Kafka; readonly commits: number[]; readonly producers: () => number } {
  let producers = 0;
  const commits: number[] = [];
  const kafka = {
    initProducer: async () => {
      const isFenced = ++producers <= times;
      let offset = -1;
      return {
        commitOffsets: async (_group: string, offsets: readonly { readonly offset: number }[]) => {
          if (isFenced && at === "offsets") throw new FencedError("a newer owner exists", { code: "KAFKA_FENCED" });
          offset = offsets[0]!.offset;
        },
        commit: async () => {
          if (isFenced && at === "end") throw new OperatingError("EndTxn: INVALID_TXN_STATE", { code: "KAFKA_REFUSED" });
          commits.push(offset);
        },
      };
    },
    listOffset: async (_at: object, which: string) => (which === "earliest" ? 0 : 1),
    fetch: async () => [{ records: [output], nextOffset: 1, lastStableOffset: 1 }],
  } as unknown as Kafka;
  return { kafka, commits, producers: () => producers };
}

const OPTIONS = { id: { lane: "live", generation: 1 }, partition: 0, transactionTimeoutMs: 1_000 };

describe("rebuilding a partition's progress", () => {
  test("commits the newest output's position and progress", async () => {
    const { kafka, commits } = kafkaFencing(0);
    expect(await rebuildProgress(kafka, OPTIONS)).toMatchObject({ offset: OFFSET, progress: { hash: progress.hash } });
    expect(commits).toEqual([OFFSET]);
  });

  test.each(["offsets", "end"] as const)("begins again when a processor's try fenced it by chance, before its %s", async (at) => {
    const { kafka, commits } = kafkaFencing(2, at);
    await rebuildProgress(kafka, OPTIONS);
    expect(commits).toEqual([OFFSET]);
  });

  test("says what is wrong when there is nothing to rebuild it from", async () => {
    const { kafka, producers } = kafkaFencing(0);
    const empty = { ...kafka, fetch: async () => [{ records: [], nextOffset: 1, lastStableOffset: 1 }] } as unknown as Kafka;
    await expect(rebuildProgress(empty, OPTIONS)).rejects.toMatchObject({ code: "PROGRESS_NOT_FOUND" });
    expect(producers()).toBe(1);
  });

  test("gives way to an owner that works, and fences it no more than three times", async () => {
    const { kafka, commits, producers } = kafkaFencing(9);
    await expect(rebuildProgress(kafka, OPTIONS)).rejects.toThrow(FencedError);
    expect(producers()).toBe(3);
    expect(commits).toEqual([]);
  });
});
