import { describe, expect, it } from "vitest";
import { assembleRelease, rowsOf, type RulesRows } from "#shared/rules/assemble.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";

const rows: RulesRows = {
  eventTypes: [
    {
      name: "click",
      schema_version: 1,
      schema: { fields: { "/properties/x": { type: "integer", min: 0, max: 100 } }, nullable: ["/source"] },
    },
    { name: "click", schema_version: 2, schema: {} },
  ],
  dataSources: [{ name: "web", is_historical: false }],
  processingRules: [],
};
const withRules = (
  ...rules: readonly { readonly config: Record<string, unknown>; readonly priority?: number; readonly rule_type?: string }[]
): RulesRows => ({
  ...rows,
  processingRules: rules.map(({ config, priority = 100, rule_type = "validation" }, i) => ({
    name: `r${i + 1}`,
    rule_type,
    config,
    priority,
  })),
});

describe("a release", () => {
  it("is assembled from the rows of the tables, rules in ascending priority, and can be taken apart into the same rows", () => {
    const { release, problems } = assembleRelease(
      withRules(
        { config: { eventTypes: "*", unknownFields: "flag" }, priority: 20 },
        { config: { eventTypes: ["click"], schemaVersions: [1], fields: { "/properties/x": { max: 50, action: "flag" } } }, priority: 10 },
      ),
      9,
    );
    expect(problems).toEqual([]);
    expect(release).toMatchObject({
      version: 9,
      rules: [
        { name: "r2", priority: 10 },
        { name: "r1", priority: 20 },
      ],
    });
    expect(assembleRelease(rowsOf(release!), 9)).toEqual({ release, problems: [] });
  });

  it("is the seed's again when the seed is taken apart", () => {
    const seed = loadSeedRelease();
    expect(assembleRelease(rowsOf(seed), seed.version).release).toEqual(seed);
  });

  it("has none of the rules that are not about validation", () => {
    expect(assembleRelease(withRules({ rule_type: "aggregation", config: { window: "5m" } }), 1).release?.rules).toEqual([]);
  });

  it.each([
    [
      "another type",
      { fields: { "/properties/x": { type: "string" } } },
      "rule r1, /properties/x: type string contradicts type integer of event type click v1",
    ],
    [
      "a minimum above the maximum",
      { fields: { "/properties/x": { min: 101 } } },
      "rule r1, /properties/x: min 101 of rule r1 is above max 100 of event type click v1",
    ],
    [
      "null where the type has none",
      { nullable: ["/properties/x"] },
      "rule r1, /properties/x: null is allowed, which event type click v1 does not do",
    ],
    [
      "a length of a number",
      { fields: { "/properties/x": { minLength: 1 } } },
      "rule r1, /properties/x: minLength and maxLength need type string",
    ],
    ["a typo", { requierd: [] }, 'rule r1: Unrecognized key: "requierd"'],
  ])("with a rule that contradicts its type (%s) is refused, and both are named", (_what, config, message) => {
    const { release, problems } = assembleRelease(withRules({ config: { eventTypes: ["click"], schemaVersions: [1], ...config } }), 1);
    expect(release).toBeNull();
    expect(problems).toEqual([expect.stringContaining(message)]);
  });

  it("with rules that contradict each other is refused, and both are named", () => {
    const { problems } = assembleRelease(
      withRules(
        {
          config: {
            eventTypes: ["click"],
            measure: "/properties/a",
            fields: { "/properties/s": { type: "string", enum: ["a", "b"], minLength: 4 } },
          },
        },
        {
          config: {
            eventTypes: ["click"],
            schemaVersions: [2],
            measure: "/properties/b",
            fields: { "/properties/s": { enum: ["c"], maxLength: 3 } },
          },
        },
      ),
      1,
    );
    expect(problems).toEqual([
      "rule r2, /properties/s: minLength 4 of rule r1 is above maxLength 3 of rule r2 (event type click v2)",
      "rule r2, /properties/s: enum has no value in common with that of rule r1 (event type click v2)",
      "rule r2, /properties/b: is to be the measure, which is /properties/a by rule r1 (event type click v2)",
    ]);
  });
});
