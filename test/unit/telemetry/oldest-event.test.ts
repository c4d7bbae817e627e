import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OldestEvent } from "#processor/observe/oldest-event.ts";
import { blockOf } from "#test/support/observed-block.ts";

/** The oldest of an epoch that consists of these blocks, behind the committed `hw`. */
function oldestOf(hw: number, blocks: readonly ReturnType<typeof blockOf>[]): number | null {
  const oldest = new OldestEvent();
  oldest.begin(hw);
  for (const block of blocks) oldest.saw(block);
  oldest.sent();
  return oldest.committedMs;
}

describe("the oldest event of an epoch", () => {
  test("is the oldest of its blocks, whatever order and size they have", () => {
    const times = fc.array(fc.integer({ min: 0, max: 4_000_000_000_000 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(times, (all) => {
        expect(
          oldestOf(
            -1,
            all.map((timeMs, i) => blockOf(i, timeMs)),
          ),
        ).toBe(Math.min(...all));
      }),
    );
  });

  test("is never that of a block which was delivered again, before the epoch or within it", () => {
    expect(oldestOf(99, [blockOf(49, 1_000), blockOf(99, 2_000), blockOf(149, 9_000), blockOf(120, 3_000)])).toBe(9_000);
    expect(oldestOf(99, [blockOf(99, 2_000)])).toBeNull();
  });

  test("is unknown for control records, blocks without the header, and headers that are no number", () => {
    expect(oldestOf(-1, [{ headers: [] }, blockOf(4, null)])).toBeNull();
    for (const text of ["", "-1", "12.5", "1e9", " 1", "9".repeat(16)]) expect(oldestOf(-1, [blockOf(4, text)]), text).toBeNull();
    expect(oldestOf(-1, [blockOf(4, "x"), blockOf(9, 7_000)])).toBe(7_000);
  });

  test("belongs to the epoch that was sent, while the next one is being made, and to no session after it", () => {
    const oldest = new OldestEvent();
    oldest.begin(-1);
    oldest.saw(blockOf(0, 1_000));
    oldest.sent();
    oldest.saw(blockOf(1, 500));
    expect(oldest.committedMs).toBe(1_000);
    oldest.sent();
    expect(oldest.committedMs).toBe(500);
    oldest.sent();
    expect(oldest.committedMs).toBeNull();
    oldest.saw(blockOf(2, 300));
    oldest.begin(1);
    oldest.sent();
    expect(oldest.committedMs).toBeNull();
    // What was in the making when the session was lost comes again, and counts then.
    oldest.saw(blockOf(2, 300));
    oldest.sent();
    expect(oldest.committedMs).toBe(300);
  });
});
