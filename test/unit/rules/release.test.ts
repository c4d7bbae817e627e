import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { checkRelease, parseRelease } from "#shared/rules/release.ts";
import { rulesJsonSchema } from "#shared/rules/release-schema.ts";
import { REASON_CODES, REASONS } from "#shared/events/reasons.ts";

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
    ["a type twice", { ...minimal, eventTypes: [{ name: "a" }, { name: "a" }] }, "event type a v1 is declared twice"],
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
      "event type a v1, /x min: ",
    ],
    [
      "a text measure",
      { ...minimal, eventTypes: [{ name: "a", fields: { x: { type: "string" } }, measure: "x" }] },
      "must have type number",
    ],
    ["a forbidden key", { ...minimal, eventTypes: [{ name: "a", required: ["/__proto__/x"] }] }, "__proto__"],
    ["version 0", { ...minimal, version: 0 }, "/version"],
    [
      "a pattern that no automaton holds",
      { ...minimal, eventTypes: [{ name: "a", fields: { x: { type: "string", pattern: "(a)\\1" } } }] },
      'event type a v1, /x pattern: pattern "(a)\\\\1": a back-reference needs more than linear time',
    ],
    [
      "a pattern on a number",
      { ...minimal, eventTypes: [{ name: "a", fields: { x: { type: "number", pattern: "a" } } }] },
      "need type string",
    ],
    [
      "an enum of another type",
      { ...minimal, eventTypes: [{ name: "a", fields: { x: { type: "boolean", enum: ["y"] } } }] },
      '"y" is not of type boolean',
    ],
    [
      "too many field rules",
      {
        ...minimal,
        eventTypes: Array.from({ length: 6 }, (_, i) => ({
          name: `t${i}`,
          fields: Object.fromEntries(Array.from({ length: 900 }, (__, j) => [`/properties/f${j}`, {}])),
        })),
      },
      "the release has 5400 field rules, at most 5000 are allowed",
    ],
    [
      "too many checks",
      {
        ...minimal,
        eventTypes: Array.from({ length: 1_000 }, (_, i) => ({ name: `t${i}` })),
        rules: Array.from({ length: 60 }, (_, i) => ({ name: `r${i}`, eventTypes: "*", required: ["/session_id"] })),
      },
      "rules and types come to 60000 checks, at most 50000",
    ],
    ["a rule on no type", { ...minimal, rules: [{ name: "r", eventTypes: ["nope"] }] }, "rule r: there is no event type nope"],
    ["a rule on no source", { ...minimal, rules: [{ name: "r", eventTypes: "*", sources: ["nope"] }] }, "rule r: there is no source nope"],
    [
      "a rule twice",
      {
        ...minimal,
        rules: [
          { name: "r", eventTypes: "*" },
          { name: "r", eventTypes: "*" },
        ],
      },
      "rule r is declared twice",
    ],
  ])("with %s is refused whole, naming the place", (_what, input, message) => {
    expect(() => parseRelease(input, "r.json")).toThrow(
      expect.objectContaining({ code: "RULES_INVALID", message: expect.stringContaining(message) as string }),
    );
  });

  it("names problems of several parts at once, each with its type, rule or source and its field", () => {
    const { release, problems } = checkRelease({
      version: 1,
      eventTypes: [
        { name: "a", fields: { "/properties/x": { type: "number", min: 2, max: 1 }, y: { type: "text" } } },
        { name: "b", measure: "name", fields: { name: { type: "string", pattern: "[" } } },
        { name: "c", measure: "name", fields: { name: { type: "string" } }, nullabel: [] },
        { name: "d", schemaVersion: 2, measure: "name", fields: { name: { type: "string" } } },
      ],
      sources: [{ name: "S" }],
      rules: [{ name: "tight", eventTypes: ["d"], fields: { name: { type: "integer" } } }],
    });
    expect(release).toBeNull();
    expect(problems).toEqual([
      "event type a v1, /properties/x: min 2 is above max 1",
      expect.stringMatching(/^event type a v1, \/y type: Invalid option/) as string,
      'event type b v1, /name pattern: pattern "[": [ without ] (character 2)',
      expect.stringMatching(/^event type c v1: Unrecognized key: "nullabel"/) as string,
      expect.stringMatching(/^source S, \/name: lower-case letters/) as string,
      "rule tight, /name: type integer contradicts type string of event type d v2 (event type d v2)",
      "event type d v2, /name: must have type number or integer to be the measure, and has string",
    ]);
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>, string]>([
    ["an envelope field", { upcast: { rename: { source: "/properties/s" } } }, {}, "/source is a field of every event"],
    ["a target outside of properties", { upcast: { rename: { x: "y" } } }, {}, "/y: a field can only move into /properties"],
    [
      "a chain",
      { upcast: { rename: { "/properties/a": "/properties/b", "/properties/b": "/properties/c" } } },
      {},
      "both an old and a new name",
    ],
    [
      "two on one",
      { upcast: { rename: { "/properties/a": "/properties/c", "/properties/b": "/properties/c" } } },
      {},
      "the new name of two fields",
    ],
    [
      "one inside another",
      { upcast: { rename: { "/properties/a": "/properties/b" }, default: { "/properties/a/c": 1 } } },
      {},
      "lies in /properties/a",
    ],
    [
      "another type",
      { fields: { "/properties/a": { type: "string" } }, upcast: { rename: { "/properties/a": "/properties/b" } } },
      { fields: { "/properties/b": { type: "number" } } },
      "has type string, but /properties/b in v2 has number",
    ],
    [
      "a default of another type",
      { upcast: { default: { "/properties/b": "x" } } },
      { fields: { "/properties/b": { type: "number" } } },
      "which v2 does not allow there",
    ],
    ["a required field left out", { upcast: {} }, { required: ["/properties/b"] }, "/properties/b is required in v2"],
  ])("with an upcast of %s is refused", (_what, old, fresh, message) => {
    const { problems } = checkRelease({
      ...minimal,
      eventTypes: [
        { name: "a", ...old },
        { name: "a", schemaVersion: 2, ...fresh },
      ],
    });
    expect(problems).toEqual([expect.stringContaining(message)]);
    expect(problems[0]).toMatch(/^event type a v1, upcast: /);
  });

  it("with an upcast that leads nowhere is refused", () => {
    const type = (schemaVersion: number, upcast?: object): object => ({
      name: "a",
      schemaVersion,
      ...(upcast === undefined ? {} : { upcast }),
    });
    expect(checkRelease({ ...minimal, eventTypes: [type(1, {}), type(2), type(3)] }).problems).toEqual([
      "event type a v1, upcast: v2 has no upcast, so events would never become v3",
    ]);
    expect(checkRelease({ ...minimal, eventTypes: [type(1), type(2, {})] }).problems).toEqual([
      "event type a v2, upcast: this is the newest version, there is none to become",
    ]);
  });

  it("is described by the published JSON Schema", () => {
    const published = readFileSync(new URL("../../../docs/schemas/rules-release.schema.json", import.meta.url), "utf8");
    // weir schema json > docs/schemas/rules-release.schema.json, then npm run format
    expect(JSON.parse(published)).toEqual(rulesJsonSchema());
  });

  it("names every problem at once", () => {
    expect(() => parseRelease({ version: 0, eventTypes: [], sources: [{ name: "S" }] }, "r.json")).toThrow(/3 problems/);
  });
});

describe("reason codes", () => {
  it("have a text each, in one line", () => {
    for (const code of REASON_CODES) expect(REASONS[code].text, code).toMatch(/^[^\n]{10,160}$/);
  });
});
