/** What an epoch holds when blocks come while the commit before it is in flight. */
import { describe, expect, test } from "vitest";
import type { PartitionFold } from "#processor/model/ports.ts";
import type { FoldFactory } from "#processor/runtime/ports.ts";
import { CalmPartition } from "./calm-partition.ts";
import { type FoldKit, modelKit } from "./fold-kit.ts";

/** Blocks folded and epochs taken, in the order in which that happened. */
function watched(kit: FoldKit, happened: string[]): FoldFactory {
  const watch = (fold: PartitionFold): PartitionFold =>
    new Proxy(fold, {
      get(target, name) {
        if (name === "apply") happened.push("block");
        if (name === "takeOutputs") happened.push("epoch");
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  return { version: kit.folds.version, create: () => watch(kit.folds.create()), restore: (state) => watch(kit.folds.restore(state)) };
}

/** A partition whose first epoch is taken and not decided. */
async function committing(kit: FoldKit): Promise<{ readonly calm: CalmPartition; readonly happened: string[] }> {
  const calm = new CalmPartition(kit);
  const happened: string[] = [];
  const owner = calm.start({ folds: watched(kit, happened) });
  await calm.until(() => owner.task.state === "running");
  calm.feed(1);
  await calm.until(() => happened.includes("epoch"));
  expect(calm.broker.decided).toBe(0);
  return { calm, happened };
}

/** One more, and another only when that is folded: two answers of the log. */
async function feedOne(calm: CalmPartition, happened: readonly string[]): Promise<void> {
  const before = happened.length;
  calm.feed(1);
  await calm.until(() => happened.length > before);
}

describe("blocks that come one by one while a commit is in flight", () => {
  test("all leave with the next epoch: none waits for two commits because another came before it", async () => {
    const { calm, happened } = await committing(modelKit());
    await feedOne(calm, happened);
    await feedOne(calm, happened);
    expect(calm.broker.decided, "the world is quick enough for this test to mean something").toBe(0);
    await calm.caughtUp();
    expect(happened).toEqual(["block", "epoch", "block", "block", "epoch"]);
  });

  test("leave as soon as it has landed, though no further block comes", async () => {
    const { calm, happened } = await committing(modelKit());
    await feedOne(calm, happened);
    const fromMs = calm.world.nowMs;
    await calm.caughtUp();
    // The fetch that waits for more would end after 100 ms.
    expect(calm.world.nowMs - fromMs).toBeLessThan(100);
    expect(happened).toEqual(["block", "epoch", "block", "epoch"]);
  });

  test("are folded no further than a megabyte ahead of it, for their outputs are kept in memory", async () => {
    const kit = modelKit();
    const padding = new Uint8Array(1_100_000).fill(0x20);
    const padded = (value: Uint8Array | null): Uint8Array => Buffer.concat([value!, padding]);
    const { calm, happened } = await committing({
      ...kit,
      block: (first, rows, nowMs) => {
        const block = kit.block(first, rows, nowMs);
        return { ...block, value: padded(block.value) };
      },
    });
    await feedOne(calm, happened);
    const held = happened.length;
    calm.feed(1);
    // Nothing is folded until the commit has landed.
    await calm.until(() => happened.length > held);
    expect(calm.broker.decided).toBe(1);
    await calm.caughtUp();
    expect(happened).toEqual(["block", "epoch", "block", "epoch", "block", "epoch"]);
  });
});
