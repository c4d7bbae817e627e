import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkRelease, type EventTypeRule, type Release } from "#shared/rules/release.ts";
import { goodEvent, textAt, validateRecords, validatorOf, verdictOf } from "#test/support/validated-event.ts";

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = Record<string, Json>;

const KEYS = ["a", "b", "c", "é\n", "~/", "in"];
const leaf = fc.oneof(
  fc.constantFrom(null, true, 0, -1.5, 1e21, 12.5, "", "x", 'q"\\', "😀"),
  fc.constantFrom<Json>([], [1, { a: 2 }], {}, { a: [{}], b: "}" }),
);
const inner = fc.dictionary(fc.constantFrom("a", "b", "z"), leaf, { maxKeys: 3 });
const properties = fc
  .dictionary(fc.constantFrom(...KEYS, "z"), leaf, { maxKeys: 6 })
  .chain((members) =>
    fc.option(fc.oneof(inner, leaf), { freq: 3 }).map((nested) => (nested === null ? members : Object.assign({}, members, { in: nested }))),
  );

const escape = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1");
const place = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...KEYS.slice(0, 5)).map((key) => `/properties/${escape(key)}`) },
  fc.constantFrom("/properties/in/a", "/properties/in/b"),
);
const origin = fc.oneof({ weight: 5, arbitrary: place }, fc.constantFrom("/top", "/other"));
const scalar = fc.constantFrom(0, 7.25, "d", true, 'é"');
const upcast = fc.record({ rename: fc.dictionary(origin, place, { maxKeys: 2 }), default: fc.dictionary(place, scalar, { maxKeys: 2 }) });
const release = fc
  .record({ first: upcast, second: fc.option(upcast), measure: fc.option(place) })
  .map(({ first, second, measure }) => {
    const last = measure === null ? {} : { measure };
    return checkRelease({
      version: 1,
      sources: [{ name: "web" }],
      eventTypes: [
        { name: "t", schemaVersion: 1, nullable: ["/properties"], upcast: first },
        ...(second === null ? [] : [{ name: "t", schemaVersion: 2, upcast: second }]),
        { name: "t", schemaVersion: 3, ...last },
      ],
    });
  })
  .filter((checked): checked is { release: Release; problems: readonly string[] } => checked.release !== null)
  .map((checked) => checked.release);

const tokensOf = (pointer: string): string[] =>
  pointer
    .slice(1)
    .split("/")
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));

/** The object that holds the pointer's last member, if there is one. */
function holder(event: JsonObject, pointer: string): JsonObject | null {
  let at: Json = event;
  for (const token of tokensOf(pointer).slice(0, -1)) {
    const next: Json | undefined = typeof at === "object" && at !== null && !Array.isArray(at) ? (at as JsonObject)[token] : undefined;
    if (next === undefined || typeof next !== "object" || next === null || Array.isArray(next)) return null;
    at = next;
  }
  return at as JsonObject;
}

/** The rules of docs/RULES.md on plain objects. */
function transformed(event: JsonObject, versions: readonly EventTypeRule[]): JsonObject {
  const copy = structuredClone(event);
  copy["properties"] ??= {};
  for (const { upcast: step } of versions) {
    for (const [from, to] of Object.entries(step?.rename ?? {})) {
      const [source, target] = [holder(copy, from), holder(copy, to)];
      const [old, fresh] = [tokensOf(from).at(-1)!, tokensOf(to).at(-1)!];
      if (source === null || target === null || !Object.hasOwn(source, old) || Object.hasOwn(target, fresh)) continue;
      target[fresh] = source[old]!;
      delete source[old];
    }
    for (const [pointer, filler] of Object.entries(step?.default ?? {})) {
      const target = holder(copy, pointer);
      const key = tokensOf(pointer).at(-1)!;
      if (target !== null && !Object.hasOwn(target, key)) target[key] = filler;
    }
  }
  return copy;
}

/** As a producer might write it. */
function spelled(value: Json, space: string): string {
  if (Array.isArray(value)) return `[${space}${value.map((item: Json) => spelled(item, space)).join(`${space},${space}`)}${space}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).map(([key, member]) => {
      const name =
        space === ""
          ? JSON.stringify(key)
          : `"${Array.from(key)
              .map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`)
              .join("")}"`;
      return `${name}${space}:${space}${spelled(member, space)}`;
    });
    return `{${space}${members.join(`${space},${space}`)}${space}}`;
  }
  return JSON.stringify(value);
}

describe("upcasting", () => {
  it("gives the properties and the value that the same steps give on plain objects, and counts the event under its own version", () => {
    let [changed, valued] = [0, 0];
    fc.assert(
      fc.property(
        release,
        fc.array(fc.tuple(fc.option(properties), leaf, fc.boolean(), fc.constantFrom("", " ", "\n\t")), { minLength: 3, maxLength: 12 }),
        ({ eventTypes, ...rest }, inputs) => {
          const validator = validatorOf({ ...rest, eventTypes });
          for (const [members, top, hasTop, space] of inputs) {
            const event = JSON.parse(
              JSON.stringify(goodEvent({ event_type: "t", schema_version: 1, properties: members, ...(hasTop ? { top } : {}) })),
            ) as JsonObject;
            const text = spelled(event, space);
            const columns = validateRecords(validator, [{ value: text }]);
            // A member that only a rule on another version allows to be null is none of this test's business.
            expect(verdictOf(columns).verdict, text).toBe("ok");
            const expected = transformed(event, eventTypes);
            const actual = JSON.parse(textAt(columns.properties, 0)!) as Json;
            expect(actual, text).toEqual(expected["properties"]);
            const { measure } = eventTypes.at(-1)!;
            const measured = measure === undefined ? undefined : holder(expected, measure)?.[tokensOf(measure).at(-1)!];
            expect(columns.value[0], text).toBe(typeof measured === "number" ? measured : NaN);
            expect([...validator.versionRows]).toEqual(eventTypes.map((_, i) => (i === 0 ? 1 : 0)));
            if (typeof measured === "number") valued++;
            if (JSON.stringify(actual) !== JSON.stringify(event["properties"])) changed++;
          }
        },
      ),
      { numRuns: 250 },
    );
    expect(changed).toBeGreaterThan(200);
    expect(valued).toBeGreaterThan(10);
  });
});
