import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { createValidator } from "#functions/validator/scanner/validator.ts";
import { compareReleases } from "#shared/rules/compatibility.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { checkRelease, type Release } from "#shared/rules/release.ts";
import { goodEvent, validateRecords, verdictOf } from "#test/support/validated-event.ts";

const NAMES = ["a", "b"];
const pointer = fc.constantFrom(...NAMES.map((name) => `/properties/${name}`), "/session_id", "/source");
const pointers = fc.uniqueArray(pointer, { maxLength: 3 });
const number = fc.constantFrom(0, 1, 2, 5);
const text = fc.constantFrom("", "x", "xy", "é", "7", "xx7");

const fieldRule = fc
  .oneof(
    fc.record(
      { type: fc.constantFrom("integer", "number"), min: number, max: number, enum: fc.array(number, { minLength: 1, maxLength: 3 }) },
      { requiredKeys: ["type"] },
    ),
    fc.record(
      {
        type: fc.constant("string"),
        minLength: number,
        maxLength: number,
        enum: fc.array(text, { minLength: 1, maxLength: 3 }),
        pattern: fc.constantFrom("x*", "x+", ".{1,2}", "[^x]*", "\\d*|x+", "x{0,2}7?"),
      },
      { requiredKeys: ["type"] },
    ),
    fc.record({ type: fc.constantFrom("any", "boolean", "object") }),
  )
  .chain((rule) => fc.constantFrom("reject", "flag").map((action) => Object.assign({}, rule, { action })));
const body = {
  required: pointers,
  nullable: pointers,
  fields: fc.dictionary(pointer, fieldRule, { maxKeys: 2 }),
  unknownFields: fc.constantFrom("keep", "flag", "reject"),
  measure: fc.constantFrom("/properties/a", "/properties/b"),
};
const input = fc.record({
  type: fc.record(body, { requiredKeys: ["unknownFields"] }),
  rule: fc.option(fc.record({ ...body, sources: fc.constant(["web"]) }, { requiredKeys: [] })),
  sources: fc.constantFrom(["web"], ["web", "api"]),
});

function released({ type, rule, sources }: typeof input extends fc.Arbitrary<infer T> ? T : never): Release | null {
  return checkRelease({
    version: 1,
    eventTypes: [{ name: "t", ...type }],
    sources: sources.map((name) => ({ name })),
    rules: rule === null ? [] : [{ name: "r", eventTypes: "*", ...rule }],
  }).release;
}

/** Two that have next to nothing in common are hardly ever compatible, so most differ in one part of the type. */
const pair = fc
  .tuple(input, input, fc.constantFrom("all", "required", "nullable", "fields", "unknownFields", "measure"))
  .map(([old, other, part]) => {
    if (part === "all") return [old, other];
    const { [part]: _, ...rest } = old.type as Record<string, unknown>;
    const replaced = (other.type as Record<string, unknown>)[part];
    return [old, { ...old, type: { ...rest, ...(replaced === undefined ? {} : { [part]: replaced }) } as typeof old.type }];
  })
  .map(([old, fresh]) => ({ old: released(old!), fresh: released(fresh!) }))
  .filter((both): both is { old: Release; fresh: Release } => both.old !== null && both.fresh !== null);

const value = fc.constantFrom(null, 0, 1, 2, 5, 1.5, "", "x", "xy", "é", "7", "xx7", true, {});
const event = fc
  .record(
    { a: value, b: value, c: value, source: fc.constantFrom("web", "api", null), session_id: fc.constantFrom("x", "xy", null) },
    { requiredKeys: [] },
  )
  .map(({ source, session_id, ...properties }) => {
    const {
      source: _,
      session_id: __,
      ...rest
    } = goodEvent({ event_type: "t", properties, device_info: undefined, geo_location: undefined });
    return JSON.stringify({ ...rest, source, session_id });
  });

describe("a change between two releases", () => {
  it("that is called BACKWARD compatible makes no accepted event rejected, and FORWARD no rejected one accepted", () => {
    let [compatible, breaking] = [0, 0];
    fc.assert(
      fc.property(pair, fc.array(event, { minLength: 5, maxLength: 30 }), ({ old, fresh }, events) => {
        const changes = compareReleases(old, fresh, { strict: true });
        const [backward, forward] = [changes.every((change) => change.backward), changes.every((change) => change.forward)];
        if (backward || forward) compatible++;
        else breaking++;
        // Without the kernel, which takes longer to lay out than these events to check.
        const [before, after] = [old, fresh].map((rules) => createValidator(compilePlan(rules), DEFAULT_LIMITS, { kernel: false }));
        for (const value of events) {
          const [was, is] = [before!, after!].map((validator) => verdictOf(validateRecords(validator, [{ value }])).verdict !== "reject");
          const evidence = JSON.stringify({ old: [old.eventTypes, old.rules], fresh: [fresh.eventTypes, fresh.rules], value, changes });
          if (was !== is) expect(was ? backward : forward, evidence).toBe(false);
        }
      }),
      { numRuns: 1_000 },
    );
    // Releases of which none could be called compatible would prove nothing.
    expect(compatible).toBeGreaterThan(20);
    expect(breaking).toBeGreaterThan(20);
  });
});
