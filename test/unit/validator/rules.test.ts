import { describe, expect, it } from "vitest";
import type { ReleaseInput } from "#shared/rules/release.ts";
import { goodEvent, validateRecords, validatorOf, verdictOf } from "#test/support/validated-event.ts";

const release: ReleaseInput = {
  version: 7,
  sources: [{ name: "web" }],
  eventTypes: [
    {
      name: "order",
      schemaVersion: 1,
      required: ["/properties/item/sku", "session_id"],
      nullable: ["/properties/note"],
      fields: {
        "/properties/item/sku": { type: "string", minLength: 2, maxLength: 4 },
        "/properties/count": { type: "integer", min: 1, max: 10 },
        "/properties/kind": { type: "string", enum: ["a", "ä\n"] },
        "/properties/level": { type: "number", enum: [1, 2.5], action: "flag" },
        "/properties/note": { type: "string" },
        "/properties/gift": { type: "boolean" },
        "/total": { type: "number", min: 0 },
      },
      measure: "/total",
    },
    { name: "order", schemaVersion: 2, unknownFields: "reject", fields: { "/properties/new": {} } },
    { name: "other", fields: { "/properties/theirs": {} } },
  ],
};
const validator = validatorOf(release);

type Members = Readonly<Record<string, unknown>>;
function verdict(properties: Members, changes: Members = {}): string {
  const event = goodEvent({ event_type: "order", properties: { item: { sku: "ab" }, ...properties }, ...changes });
  const { verdict: word, reason, pointer } = verdictOf(validateRecords(validator, [{ value: JSON.stringify(event) }]));
  return [word, reason, pointer].filter((part) => part !== null).join(" ");
}

describe("a rule", () => {
  it.each<[string, string, Members, Members?]>([
    ["holds", "ok", {}],
    ["a required member deep down is missing", "reject schema.required /properties/item/sku", { item: {} }],
    ["its parent is no object", "reject schema.required /properties/item/sku", { item: 5 }],
    ["a required member is blank", "reject schema.required /properties/item/sku", { item: { sku: "  " } }],
    ["a required envelope field is missing", "reject schema.required /session_id", {}, { session_id: undefined }],
    ["text too short", "reject schema.length /properties/item/sku", { item: { sku: "a" } }],
    ["text too long", "reject schema.length /properties/item/sku", { item: { sku: "abcde" } }],
    ["length counts characters, not bytes", "ok", { item: { sku: "äöü😀" } }],
    ["integer in range", "ok", { count: 10 }],
    ["integer out of range", "reject schema.range /properties/count", { count: 11 }],
    ["decimal where an integer is wanted", "reject schema.type /properties/count", { count: 1.5 }],
    ["enum, decoded", "ok", { kind: "ä\n" }],
    ["enum in another case", "reject schema.enum /properties/kind", { kind: "A" }],
    ["number enum", "ok", { level: 2.5 }],
    ["flag keeps the event", "warning rule.flag", { level: 3 }],
    ["boolean", "ok", { gift: false }],
    ["number where a boolean is wanted", "reject schema.type /properties/gift", { gift: 1 }],
    ["nullable null", "ok", { note: null }],
    ["null that is not nullable", "reject schema.null /properties/gift", { gift: null }],
    ["an optional envelope field null, not nullable", "reject schema.null /source", {}, { source: null }],
    ["a rule on a top-level field", "reject schema.range /total", {}, { total: -1 }],
    ["the rule of another type does not bind", "ok", { theirs: null }],
    ["an undeclared member is kept", "ok", { whatever: { deep: [1] } }],
    ["version 2: declared member", "ok", { item: undefined, new: 1 }, { schema_version: 2 }],
    [
      "version 2: unknown member of properties",
      "reject schema.unknown_field /properties/huh",
      { item: undefined, huh: 1 },
      { schema_version: 2 },
    ],
    ["version 2: unknown top-level member", "reject schema.unknown_field /huh", { item: undefined }, { schema_version: 2, huh: 1 }],
    [
      "version 2: member of another type",
      "reject schema.unknown_field /properties/theirs",
      { item: undefined, theirs: 1 },
      { schema_version: 2 },
    ],
    ["version 3 does not exist", "reject schema.version /schema_version", {}, { schema_version: 3 }],
  ])("%s: %s", (_what, expected, properties, changes) => {
    // Twice, so that learned keys meet the second one.
    expect(verdict(properties, changes)).toBe(expected);
    expect(verdict(properties, changes)).toBe(expected);
  });

  it("the measure becomes the value; absent or null it is none", () => {
    const values = [{ total: 2.5 }, { total: null }, {}, { total: 1e-7 }].map((changes) => {
      const event = goodEvent({ event_type: "order", properties: { item: { sku: "ab" } }, ...changes });
      const columns = validateRecords(validator, [{ value: JSON.stringify(event) }]);
      return [columns.value[0], verdictOf(columns).reason];
    });
    expect(values).toEqual([
      [2.5, null],
      [NaN, "schema.null"],
      [NaN, null],
      [1e-7, null],
    ]);
  });
});
