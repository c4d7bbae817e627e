import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VERDICT } from "#shared/events/columns.ts";
import { MARKS } from "#test/support/hostile-tokens.ts";
import { goodEvent, NOW_MS, seedValidator, textAt, verdictOf } from "#test/support/validated-event.ts";

/** Printed with a failure and set to repeat it; otherwise new each run. */
const SEED = Number(process.env["FAST_CHECK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const parameters = (numRuns: number): { numRuns: number; seed: number } => ({ numRuns, seed: SEED });

/** Making a random event costs more than checking it: each is written in several ways. */
const SPELLINGS = 8;

const validator = seedValidator();
const fatal = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Codes that say "no JSON text", which JSON.parse must then say too. */
const NOT_JSON: ReadonlySet<string> = new Set(["json.empty", "json.syntax", "json.multiple", "encoding", "encoding.bom", "format"]);

function parse(bytes: Uint8Array): { readonly value: unknown } | null {
  try {
    return { value: JSON.parse(fatal.decode(bytes)) as unknown };
  } catch {
    return null;
  }
}

/** Well-formed text without NUL: what an event's strings may hold. */
const text = fc.string({ unit: "binary", maxLength: 10 }).map((value) => value.toWellFormed().replaceAll("\0", ""));
const key = fc
  .oneof(fc.constantFrom("a", "b", "amount", "toString", "currency", "", "quantity"), text)
  .filter((name) => !/^(__proto__|constructor|prototype)$/.test(name));
/** Integers beyond 2^53 - 1 without an exponent are refused, see number.unsafe. */
const decimal = fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !/^-?\d{16,}/.test(String(value)));
const number = fc.oneof(fc.maxSafeInteger(), decimal, fc.integer({ min: -100, max: 100 }));
const scalar = fc.oneof(text, number, fc.boolean(), fc.constant(null));
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
    fc.dictionary(key, scalar, { minKeys: 15, maxKeys: 25, noNullPrototype: true }),
  ),
})).value;

/** JSON text with escapes and white space where the grammar allows them. */
function spell(value: unknown, random: () => number): string {
  const space = (): string => (random() < 0.15 ? [" ", "\n", "\t\r", "  "][Math.floor(random() * 4)]! : "");
  const spellText = (content: string): string =>
    `"${Array.from(content, (character) => {
      const plain = character >= " " && character !== '"' && character !== "\\";
      if (plain && random() >= 0.05) return character;
      if (character === "\n" && random() < 0.5) return "\\n";
      return character
        .split("")
        .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
        .join("");
    }).join("")}"`;
  const spellAny = (any: unknown): string => {
    if (typeof any === "string") return spellText(any);
    if (Array.isArray(any)) return `[${space()}${any.map((item) => spellAny(item) + space()).join(`,${space()}`)}]`;
    if (typeof any === "object" && any !== null) {
      return `{${space()}${Object.entries(any)
        .map(([name, member]) => `${spellText(name)}${space()}:${space()}${spellAny(member)}${space()}`)
        .join(`,${space()}`)}}`;
    }
    return Object.is(any, -0) ? "-0" : JSON.stringify(any);
  };
  return `${space()}${spellAny(value)}${space()}`;
}

function validate(bytes: Uint8Array): ReturnType<typeof validator.finish> {
  validator.begin();
  validator.add(bytes, 0, bytes.length, undefined, null, 7, NOW_MS);
  return validator.finish();
}

const event = fc.record(
  {
    event_id: fc.uuid(),
    event_time: fc.oneof(
      fc.date({ min: new Date(NOW_MS - 86_400_000), max: new Date(NOW_MS), noInvalidDate: true }).map((date) => date.toISOString()),
      fc.integer({ min: NOW_MS - 86_400_000, max: NOW_MS }),
    ),
    user_id: fc.oneof(fc.maxSafeInteger().map(Math.abs), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String)),
    event_type: fc.constantFrom("page_view", "purchase", "click", "heartbeat"),
    source: fc.constantFrom("web", "mobile", "flights", null),
    session_id: fc.oneof(text, fc.constant(null)),
    device_info: fc.oneof(text, fc.dictionary(key, json, { maxKeys: 5, noNullPrototype: true }), fc.constant(null)),
    geo_location: fc.oneof(text, fc.dictionary(key, json, { maxKeys: 5, noNullPrototype: true }), fc.constant(null)),
    schema_version: fc.constant(1),
    properties: fc
      .tuple(fc.dictionary(key, json, { maxKeys: 8, noNullPrototype: true }), fc.double({ min: 0, max: 1e6, noNaN: true }))
      .map(([members, amount]) => Object.fromEntries(Object.entries({ ...members, amount }).filter(([name]) => name !== "currency"))),
    extra: json,
  },
  { requiredKeys: ["event_id", "event_time", "user_id", "event_type", "properties"] },
);
const random = fc.noShrink(fc.integer()).map((seed) => {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
});

describe("the scanner and JSON.parse", () => {
  it("agree field by field on 8,000 events in every spelling", () => {
    fc.assert(
      fc.property(event, random, (value, chance) => {
        for (let spelling = 0; spelling < SPELLINGS; spelling++) {
          const bytes = new TextEncoder().encode(spell(value, chance));
          const columns = validate(bytes);
          const parsed = parse(bytes)!.value as typeof value & { source?: string | null };
          expect(verdictOf(columns)).toEqual({ verdict: "ok", reason: null, pointer: null });
          const id = Buffer.from(columns.eventId).toString("hex");
          expect(id).toBe(parsed.event_id.replaceAll("-", ""));
          expect(columns.eventTimeMs[0]).toBe(typeof parsed.event_time === "number" ? parsed.event_time : Date.parse(parsed.event_time));
          expect((BigInt(columns.userId[1]!) << 32n) | BigInt(columns.userId[0]!)).toBe(BigInt(parsed.user_id));
          expect(columns.eventType.values[columns.eventType.codes[0]!]).toBe(parsed.event_type);
          expect(columns.source.codes[0]! < 0 ? null : columns.source.values[columns.source.codes[0]!]).toBe(parsed.source ?? null);
          expect(textAt(columns.sessionId, 0)).toBe(parsed.session_id === "" ? null : (parsed.session_id ?? null));
          for (const [column, member] of [
            [columns.deviceInfo, parsed.device_info],
            [columns.geoLocation, parsed.geo_location],
          ] as const) {
            const actual = textAt(column, 0);
            if (typeof member === "object" && member !== null) expect(JSON.parse(actual!)).toEqual(member);
            else expect(actual).toBe(member ?? null);
          }
          expect(JSON.parse(textAt(columns.properties, 0)!)).toEqual(parsed.properties);
          expect(columns.value[0]).toEqual(parsed.event_type === "purchase" ? parsed.properties["amount"] : NaN);
        }
      }),
      parameters(8_000 / SPELLINGS),
    );
  });

  it("agree on what is JSON over 8,000 mutated documents", () => {
    const junk = fc.constantFrom(...MARKS, ".", "0", "1", "\\u00", "\\ud83d", "\0", "\x80", "\xff", " ", "t", "null", "é");
    const mutation = fc.record({
      at: fc.double({ min: 0, max: 0.999, noNaN: true }),
      drop: fc.integer({ min: 0, max: 3 }),
      put: fc.oneof(junk, fc.constant("")),
    });
    const bases = [json.map((value) => ({ value, wrap: true })), event.map((value) => ({ value, wrap: false }))];
    let notJson = 0;
    let accepted = 0;
    fc.assert(
      fc.property(fc.oneof(...bases), random, fc.array(mutation, { maxLength: 3 }), ({ value, wrap }, chance, mutations) => {
        for (let spelling = 0; spelling < SPELLINGS; spelling++) {
          let bytes = Buffer.from(spell(wrap ? goodEvent({ extra: value }) : value, chance));
          for (const { at, drop, put } of mutations) {
            const from = Math.floor(((at + 0.37 * spelling) % 1) * bytes.length);
            bytes = Buffer.concat([
              bytes.subarray(0, from),
              Buffer.from(put, put.length === 1 ? "latin1" : "utf8"),
              bytes.subarray(from + drop),
            ]);
          }
          const columns = validate(bytes);
          const { reason } = verdictOf(columns);
          const parsed = parse(bytes);
          if (reason !== null && NOT_JSON.has(reason)) {
            notJson++;
            expect(parsed, `${reason}: ${bytes.toString()}`).toBeNull();
          }
          if (columns.verdict[0] !== VERDICT.reject) {
            accepted++;
            expect(parsed, bytes.toString()).not.toBeNull();
            expect(JSON.parse(textAt(columns.properties, 0)!)).toEqual((parsed!.value as { properties?: unknown }).properties ?? {});
          }
        }
      }),
      parameters(8_000 / SPELLINGS),
    );
    expect(notJson).toBeGreaterThan(800);
    expect(accepted).toBeGreaterThan(400);
  });

  it("survive 20,000 records of random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const columns = validate(bytes);
        expect(columns.verdict[0]).toBe(VERDICT.reject);
        if (NOT_JSON.has(verdictOf(columns).reason!)) expect(parse(bytes)).toBeNull();
      }),
      parameters(20_000),
    );
  });
});
