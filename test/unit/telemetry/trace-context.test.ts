import { describe, expect, test } from "vitest";
import { isSampled, readTraceparent } from "#shared/telemetry/trace-context.ts";

const ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";
const bytes = (text: string): number[] => [...Buffer.from(text)];

describe("a traceparent", () => {
  test("of version 00 is taken as it is", () => {
    expect(readTraceparent(bytes(`00-${ID}-${PARENT}-01`))).toBe(`00-${ID}-${PARENT}-01`);
    expect(readTraceparent(bytes(`00-${ID}-${PARENT}-00`))).toBe(`00-${ID}-${PARENT}-00`);
  });

  test("of a later version is read as far as 00 goes, and only its sampled flag is believed", () => {
    expect(readTraceparent(bytes(`cc-${ID}-${PARENT}-ff`))).toBe(`00-${ID}-${PARENT}-01`);
    expect(readTraceparent(bytes(`cc-${ID}-${PARENT}-02-what-the-future-brings`))).toBe(`00-${ID}-${PARENT}-00`);
  });

  test.each([
    ["is empty", ""],
    ["is cut off", `00-${ID}-${PARENT}-0`],
    ["is longer than version 00 allows", `00-${ID}-${PARENT}-01-x`],
    ["is longer without a dash", `cc-${ID}-${PARENT}-01x`],
    ["has the forbidden version", `ff-${ID}-${PARENT}-01`],
    ["has upper-case letters", `00-${ID.toUpperCase()}-${PARENT}-01`],
    ["has a trace id of zeros", `00-${"0".repeat(32)}-${PARENT}-01`],
    ["has a parent id of zeros", `00-${ID}-${"0".repeat(16)}-01`],
    ["has other separators", `00_${ID}_${PARENT}_01`],
    ["has a letter that is no hexadecimal", `00-${ID.slice(1)}g-${PARENT}-01`],
    ["has blanks around it", ` 00-${ID}-${PARENT}-01`],
  ])("that %s is none", (_what, text) => {
    expect(readTraceparent(bytes(text))).toBeNull();
  });

  test("of signed bytes, as a JVM writes them, is none", () => {
    expect(readTraceparent([-1, ...bytes(`00-${ID}-${PARENT}-01`).slice(1)])).toBeNull();
  });

  test("is sampled by its lowest flag alone", () => {
    expect(["00", "01", "02", "03"].map((flags) => isSampled(`00-${ID}-${PARENT}-${flags}`))).toEqual([false, true, false, true]);
  });
});
