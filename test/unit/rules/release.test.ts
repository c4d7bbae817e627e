import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadPublished, loadSeedRelease } from "#shared/rules/load-release.ts";
import { parseRelease } from "#shared/rules/release.ts";
import { REASON_CODES, REASONS } from "#shared/events/reasons.ts";
import { createRulesSource } from "#functions/validator/rules-source.ts";

const minimal = { version: 1, eventTypes: [{ name: "a" }], sources: [{ name: "s" }] };

describe("a release", () => {
  it("the seed declares the event types and sources of the pipeline", () => {
    const seed = loadSeedRelease();
    const types = "page_view view_item click search add_to_cart purchase login logout signup heartbeat flight";
    expect(seed.eventTypes.map(({ name }) => name).join(" ")).toBe(types);
    expect(seed.sources).toEqual([
      ...["web", "mobile", "api", "pos"].map((name) => ({ name, historical: false })),
      { name: "flights", historical: true },
    ]);
    expect(seed.eventTypes.find(({ name }) => name === "purchase")!.measure).toBe("/properties/amount");
  });

  it("a plain name is the pointer to a top-level field", () => {
    const release = parseRelease(
      { ...minimal, eventTypes: [{ name: "a", required: ["x"], fields: { x: { type: "number" } }, measure: "x" }] },
      "in the test",
    );
    expect(release.eventTypes[0]).toMatchObject({ required: ["/x"], fields: { "/x": { type: "number" } }, measure: "/x" });
  });

  it.each([
    ["no event type", { ...minimal, eventTypes: [] }, "/eventTypes"],
    ["a typo in a key", { ...minimal, eventTypes: [{ name: "a", requierd: [] }] }, "requierd"],
    ["a type twice", { ...minimal, eventTypes: [{ name: "a" }, { name: "a" }] }, "event type a version 1 is declared twice"],
    ["a source twice", { ...minimal, sources: [{ name: "s" }, { name: "s" }] }, "source s is declared twice"],
    ["an upper-case name", { ...minimal, eventTypes: [{ name: "Purchase" }] }, "lower-case"],
    [
      "min above max",
      { ...minimal, eventTypes: [{ name: "a", fields: { x: { type: "number", min: 2, max: 1 } } }] },
      "min 2 is above max 1",
    ],
    [
      "min on a string",
      { ...minimal, eventTypes: [{ name: "a", fields: { x: { type: "string", min: 2 } } }] },
      "need type integer or number",
    ],
    [
      "NaN threshold",
      { ...minimal, eventTypes: [{ name: "a", fields: { x: { type: "number", min: NaN } } }] },
      "/eventTypes/0/fields/x/min",
    ],
    [
      "a text measure",
      { ...minimal, eventTypes: [{ name: "a", fields: { x: { type: "string" } }, measure: "x" }] },
      "must have type number",
    ],
    ["a forbidden key", { ...minimal, eventTypes: [{ name: "a", required: ["/__proto__/x"] }] }, "__proto__"],
    ["version 0", { ...minimal, version: 0 }, "/version"],
  ])("with %s is refused whole, naming the place", (_what, input, message) => {
    expect(() => parseRelease(input, "r.json")).toThrow(
      expect.objectContaining({ code: "RULES_INVALID", message: expect.stringContaining(message) as string }),
    );
  });

  it("names every problem at once", () => {
    expect(() => parseRelease({ version: 0, eventTypes: [], sources: [{ name: "S" }] }, "r.json")).toThrow(/3 problems/);
  });
});

describe("a published release", () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), "weir-rules-"));
    mkdirSync(join(dataDir, "rules"));
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));

  const publish = (version: number, spoil: { readonly sha256?: string; readonly text?: string } = {}): void => {
    const text = JSON.stringify({ ...minimal, version });
    const sha256 = spoil.sha256 ?? createHash("sha256").update(text).digest("hex");
    writeFileSync(join(dataDir, "rules", `${version}.json`), spoil.text ?? text);
    writeFileSync(join(dataDir, "rules", "current.json"), JSON.stringify({ version, file: `${version}.json`, sha256 }));
  };

  it("is the seed where none was published", () => {
    expect(loadPublished(dataDir)).toEqual({ release: loadSeedRelease(), fallback: null });
  });

  it("is what current.json names, its hash verified", () => {
    publish(2);
    publish(3);
    expect(loadPublished(dataDir)).toMatchObject({ release: { version: 3 }, fallback: null });
  });

  it.each([
    ["another hash", { sha256: "0".repeat(64) }],
    ["text that is no JSON", { text: "{" }],
  ])("with %s gives way to the last good one, or to the newest older file", (_what, spoil) => {
    publish(2);
    const { release } = loadPublished(dataDir);
    publish(3, spoil);
    expect(loadPublished(dataDir, release)).toMatchObject({
      release: { version: 2 },
      fallback: expect.stringContaining("3.json") as string,
    });
    expect(loadPublished(dataDir)).toMatchObject({ release: { version: 2 } });
  });

  it("with nothing to fall back to says how to publish one", () => {
    publish(1, { sha256: "0".repeat(64) });
    expect(() => loadPublished(dataDir)).toThrow(expect.objectContaining({ code: "RULES_UNREADABLE" }));
  });

  it("stands in its folder, wherever current.json points", () => {
    publish(2);
    const text = JSON.stringify({ ...minimal, version: 9 });
    writeFileSync(join(dataDir, "9.json"), text);
    const sha256 = createHash("sha256").update(text).digest("hex");
    writeFileSync(join(dataDir, "rules", "current.json"), JSON.stringify({ version: 9, file: "../9.json", sha256 }));
    expect(loadPublished(dataDir)).toMatchObject({ release: { version: 2 }, fallback: expect.stringContaining("cannot read") as string });
  });

  it("is looked at again after a second, reported once when damaged, and compiled once", () => {
    let nowMs = 0;
    const reports: number[] = [];
    const source = createRulesSource({ dataDir, now: () => nowMs, onFallback: (_problem, version) => reports.push(version) });
    publish(2);
    const first = source.plan();
    expect(first.version).toBe(2);
    publish(3);
    expect(source.plan()).toBe(first);
    nowMs = 1_000;
    const second = source.plan();
    expect(second.version).toBe(3);
    publish(4, { text: "{" });
    for (nowMs = 2_000; nowMs < 5_000; nowMs += 1_000) expect(source.plan()).toBe(second);
    expect(reports).toEqual([3]);
  });
});

describe("reason codes", () => {
  it("have a text each, in one line", () => {
    for (const code of REASON_CODES) expect(REASONS[code].text, code).toMatch(/^[^\n]{10,160}$/);
  });
});
