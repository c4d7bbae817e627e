import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { assembleRelease, rowsOf } from "#shared/rules/assemble.ts";
import { checkRelease, type Release } from "#shared/rules/release.ts";
import { REASONS } from "#shared/events/reasons.ts";
import { goodEvent, textAt, validateRecords, validatorOf, verdictOf } from "#test/support/validated-event.ts";

const page = readFileSync(new URL("../../../docs/RULES.md", import.meta.url), "utf8");
const examples = [...page.matchAll(/```json\n([^]*?)```/g)].map(([, text]) => JSON.parse(text!) as Record<string, unknown>);

function checked(example: unknown): Release {
  const { release, problems } = checkRelease(example);
  expect(problems).toEqual([]);
  return release!;
}

describe("docs/RULES.md", () => {
  it("has a release with a type, a rule on top of it, and a release with two versions, all of them sound", () => {
    expect(examples).toHaveLength(3);
    const release = checked(examples[0]);
    const rows = rowsOf(release);
    const ruled = assembleRelease(
      { ...rows, processingRules: [{ name: "example", rule_type: "validation", config: examples[1]!, priority: 1 }] },
      1,
    );
    expect(ruled).toMatchObject({ problems: [], release: { rules: [{ name: "example" }] } });
    checked(examples[2]);
  });

  it("shows an upcast that does what the page says", () => {
    const validator = validatorOf(checked(examples[2]));
    const event = goodEvent({
      event_type: "order",
      properties: { amount: 12.5, note: "n" },
      session_id: undefined,
      device_info: undefined,
      geo_location: undefined,
    });
    const columns = validateRecords(validator, [{ value: JSON.stringify(event) }]);
    expect(verdictOf(columns).verdict).toBe("ok");
    expect(textAt(columns.properties, 0)).toBe('{"note":"n","total":12.5,"currency":"EUR"}');
    expect(columns.value[0]).toBe(12.5);
  });

  it("has every key of an event type, a field and a rule, and names only reasons that there are", () => {
    const schema = JSON.stringify(examples) + page;
    const keys = [
      "required",
      "nullable",
      "fields",
      "measure",
      "unknownFields",
      "upcast",
      "type",
      "min",
      "max",
      "enum",
      "minLength",
      "maxLength",
    ];
    for (const key of [...keys, "pattern", "action", "eventTypes", "schemaVersions", "sources", "historical"])
      expect(schema).toContain(`\`${key}\``);
    for (const [, code] of page.matchAll(/`((?:schema|rule)\.[a-z_]+)`/g)) expect(Object.keys(REASONS)).toContain(code);
  });

  it("shows problems as they are told", () => {
    const { problems } = checkRelease({
      version: 1,
      sources: [],
      eventTypes: [
        {
          name: "order",
          fields: { "/properties/sku": { type: "string", pattern: "(a)\\1" }, "/properties/amount": { type: "number", min: 5, max: 3 } },
        },
      ],
    });
    // Of a rule that contradicts: assemble.test.ts.
    for (const problem of problems) expect(page).toContain(problem);
    expect(problems).toHaveLength(2);
  });
});
