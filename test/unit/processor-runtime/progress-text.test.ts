import { describe, expect, test } from "vitest";
import { encodeProgress, parseProgress } from "#processor/checkpoint/progress-text.ts";
import { PROGRESS } from "./start-facts.ts";

describe("progress in the offset's metadata", () => {
  test("reads back as it was written", () => {
    expect(parseProgress(encodeProgress(PROGRESS))).toEqual(PROGRESS);
    expect(parseProgress(encodeProgress({ ...PROGRESS, watermarkMs: null }))?.watermarkMs).toBeNull();
  });

  test("fits the broker's limit with the largest numbers there are", () => {
    const largest = JSON.parse(encodeProgress(PROGRESS), (key, value: unknown) =>
      typeof value === "number" && key !== "v" ? Number.MAX_SAFE_INTEGER : value,
    ) as typeof PROGRESS;
    expect(encodeProgress(largest).length).toBeLessThan(1_024);
  });

  test.each([
    "",
    "{}",
    "null",
    "[]",
    "not json",
    '{"v":2}',
    JSON.stringify({ ...PROGRESS, hash: "short" }),
    JSON.stringify({ ...PROGRESS, oseq: { clean: 1 } }),
  ])("%s is none", (text) => {
    expect(parseProgress(text)).toBeNull();
  });
});
