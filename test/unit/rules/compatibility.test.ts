import { describe, expect, it } from "vitest";
import { brokenVersions, compareReleases, compareVersions } from "#shared/rules/compatibility.ts";
import { parseRelease, type Release } from "#shared/rules/release.ts";

type Members = Record<string, unknown>;
const release = (type: Members, rest: Members = {}): Release =>
  parseRelease({ version: 1, eventTypes: [{ name: "order", ...type }], sources: [{ name: "web" }], ...rest }, "in the test");
const field = (rule: Members): Members => ({ fields: { "/properties/x": rule } });

function verdicts(old: Release, fresh: Release, strict = false): string[] {
  return compareReleases(old, fresh, { strict }).map(
    ({ what, field: pointer, change, backward, forward }) =>
      `${backward ? "ok" : "BREAKING"} ${forward ? "forward" : "not forward"}: ${[what, pointer, change].filter((part) => part !== "").join(" ")}`,
  );
}

describe("a change of a type", () => {
  it("that is none is none", () => {
    expect(verdicts(release(field({ type: "string" })), release(field({ type: "string" })))).toEqual([]);
  });

  const text = { type: "string" };
  it.each<[string, Members, Members, string]>([
    [
      "required",
      field(text),
      { ...field(text), required: ["/properties/x"] },
      "BREAKING forward: event type order v1 /properties/x required",
    ],
    [
      "no longer required",
      { ...field(text), required: ["/properties/x"] },
      field(text),
      "ok not forward: event type order v1 /properties/x no longer required",
    ],
    [
      "nullable",
      field(text),
      { ...field(text), nullable: ["/properties/x"] },
      "ok not forward: event type order v1 /properties/x may be null",
    ],
    [
      "not nullable",
      { ...field(text), nullable: ["/properties/x"] },
      field(text),
      "BREAKING forward: event type order v1 /properties/x may not be null any more",
    ],
    [
      "a narrower type",
      field({ type: "number" }),
      field({ type: "integer" }),
      "BREAKING forward: event type order v1 /properties/x type number -> integer",
    ],
    [
      "a wider type",
      field({ type: "integer" }),
      field({ type: "number" }),
      "ok not forward: event type order v1 /properties/x type integer -> number",
    ],
    [
      "another type",
      field(text),
      field({ type: "boolean" }),
      "BREAKING not forward: event type order v1 /properties/x type string -> boolean",
    ],
    [
      "a higher minimum",
      field({ type: "number", min: 1 }),
      field({ type: "number", min: 2 }),
      "BREAKING forward: event type order v1 /properties/x min 1 -> 2",
    ],
    [
      "no maximum",
      field({ type: "number", max: 1 }),
      field({ type: "number" }),
      "ok not forward: event type order v1 /properties/x max 1 -> none",
    ],
    [
      "a shorter length",
      field({ ...text, maxLength: 9 }),
      field({ ...text, maxLength: 8 }),
      "BREAKING forward: event type order v1 /properties/x maxLength 9 -> 8",
    ],
    [
      "a value less",
      field({ ...text, enum: ["a", "b"] }),
      field({ ...text, enum: ["a"] }),
      'BREAKING forward: event type order v1 /properties/x no longer allowed: "b"',
    ],
    [
      "a value more",
      field({ ...text, enum: ["a"] }),
      field({ ...text, enum: ["a", "b"] }),
      'ok not forward: event type order v1 /properties/x now allowed: "b"',
    ],
    [
      "a rule that rejects now",
      field({ ...text, maxLength: 9, action: "flag" }),
      field({ ...text, maxLength: 9 }),
      "BREAKING forward: event type order v1 /properties/x maxLength none -> 9",
    ],
    ["unknown fields rejected", {}, { unknownFields: "reject" }, "BREAKING forward: event type order v1 /* unknown fields: keep -> reject"],
    ["unknown fields flagged", {}, { unknownFields: "flag" }, "ok forward: event type order v1 /* unknown fields: keep -> flag"],
    [
      "a measure",
      {},
      { measure: "/properties/x" },
      "ok not forward: event type order v1 /properties/x the column value comes from /properties/x, before from no field",
    ],
    [
      "an envelope field that may not be null",
      { nullable: ["/source"] },
      {},
      "BREAKING forward: event type order v1 /source may not be null any more",
    ],
  ])("%s", (_what, old, fresh, expected) => {
    expect(verdicts(release(old), release(fresh))).toContain(expected);
  });

  it("of a pattern is breaking exactly when some text is refused now, which is shown", () => {
    const pattern = (source: string): Release => release(field({ ...text, pattern: source }));
    expect(verdicts(pattern("[a-z]{2}"), pattern("[a-z]{2,3}"))).toEqual([
      "ok forward: event type order v1 /properties/x pattern [a-z]{2,3}",
      expect.stringMatching(
        /^ok not forward: event type order v1 \/properties\/x no pattern \[a-z\]\{2\} any more, which allows "[a-z]{3}"$/,
      ) as string,
    ]);
    expect(verdicts(pattern("[a-z]{2,3}"), pattern("[a-z]{2}"))[0]).toMatch(
      /^BREAKING forward: .* pattern \[a-z\]\{2\}, which refuses "[a-z]{3}"$/,
    );
    expect(verdicts(pattern("(?:ab)*"), pattern("(?:(?:ab)+)?")).every((verdict) => verdict.startsWith("ok forward"))).toBe(true);
  });

  it("that declares a field is compatible where unknown ones were kept, and to the letter it is not", () => {
    expect(verdicts(release({}), release(field(text))).filter((verdict) => verdict.startsWith("BREAKING"))).toEqual([]);
    expect(verdicts(release({}), release(field(text)), true)).toContain(
      "BREAKING forward: event type order v1 /properties/x type any -> string",
    );
  });
});

describe("a change of a release", () => {
  it("names types, versions and sources that came and went", () => {
    const old = release({}, { sources: [{ name: "web" }, { name: "old", historical: true }] });
    const fresh = release({ schemaVersion: 2 }, { sources: [{ name: "old" }, { name: "api" }] });
    expect(verdicts(old, fresh)).toEqual([
      "BREAKING forward: event type order v1 removed",
      "ok not forward: event type order v2 added",
      "BREAKING forward: source web removed",
      "BREAKING forward: source old no longer historical: old events are refused",
      "ok not forward: source api added",
    ]);
  });

  it("by a rule for one source names the source, and breaks no version", () => {
    const rules = [{ name: "r", eventTypes: "*", sources: ["web"], required: ["/session_id"] }];
    const [old, fresh] = [release({}), release({}, { rules })];
    expect(verdicts(old, fresh)).toEqual(["BREAKING forward: event type order v1 from web /session_id required"]);
    expect(brokenVersions(old, fresh)).toEqual([]);
    expect(brokenVersions(release({}), release({ required: ["/session_id"] })).map((change) => change.field)).toEqual(["/session_id"]);
  });

  it("weighs a change for a source by the rules that source had", () => {
    const rules = [{ name: "r", eventTypes: "*", sources: ["web"], required: ["/properties/x"] }];
    const old = release({ unknownFields: "reject" }, { rules });
    const fresh = release({ ...field({ type: "object" }), unknownFields: "keep" });
    expect(verdicts(old, fresh, true)).toContain("BREAKING forward: event type order v1 from web /properties/x type any -> object");
  });

  it("from one version of a type to the next is told the same way", () => {
    const { eventTypes } = parseRelease(
      { version: 1, sources: [], eventTypes: [{ name: "order" }, { name: "order", schemaVersion: 2, required: ["/properties/x"] }] },
      "in the test",
    );
    expect(compareVersions(eventTypes[0]!, eventTypes[1]!)).toContainEqual(
      expect.objectContaining({ what: "event type order v1 -> v2", field: "/properties/x", change: "required", backward: false }),
    );
  });
});
