import { beforeAll, describe, expect, it } from "vitest";
import type { Validator } from "#functions/validator/scanner/validator.ts";
import { goodEvent, seedValidator, validateRecords, verdictOf } from "#test/support/validated-event.ts";
import { DECIDED, MUST_READ, MUST_REFUSE, type Text, WHOLE_RECORDS } from "./cases.ts";

const [HEAD, TAIL] = JSON.stringify(goodEvent({ properties: { amount: 12.5, x: "HERE" } })).split('"HERE"') as [string, string];
const fatal = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text as the value of properties.x of an event that is good but for it. */
function inEvent(text: Text): Uint8Array {
  return Buffer.concat([Buffer.from(HEAD), Buffer.from(text), Buffer.from(TAIL)]);
}

function parse(text: Text): unknown {
  return JSON.parse(typeof text === "string" ? text : fatal.decode(text));
}

type Row = readonly [name: string, text: Text];
const rows = (classes: Readonly<Record<string, Readonly<Record<string, Text>>>>): Row[] =>
  Object.entries(classes).flatMap(([group, texts]) => Object.entries(texts).map(([name, text]): Row => [`${group}: ${name}`, text]));
const decided = Object.entries(DECIDED).flatMap(([group, texts]) =>
  Object.entries(texts).map(([name, [text, decision]]) => ({ name: `${group}: ${name}`, text, decision })),
);

/** Codes that say "no JSON text". */
const NOT_JSON = ["json.empty", "json.syntax", "json.multiple", "encoding", "encoding.bom", "encoding.surrogate"];

describe.each([
  ["kernel and twin", true],
  ["twin alone", false],
])("JSON by the classes of JSONTestSuite, %s:", (_name, kernel) => {
  let validator: Validator;
  beforeAll(() => {
    validator = seedValidator({}, { kernel });
  });
  const verdictOn = (value: Uint8Array): ReturnType<typeof verdictOf> => {
    const columns = validateRecords(validator, [{ value: inEvent("1") }, { value }, { value: inEvent("{}") }]);
    expect([verdictOf(columns, 0).verdict, verdictOf(columns, 2).verdict], "the records beside it").toEqual(["ok", "ok"]);
    return verdictOf(columns, 1);
  };

  it.each(rows(MUST_READ))("is read: %s", (_row, text) => {
    const value = inEvent(text);
    expect(verdictOn(value)).toEqual({ verdict: "ok", reason: null, pointer: null });
    const columns = validateRecords(validator, [{ value }]);
    const slice = columns.properties.bytes.subarray(columns.properties.offsets[0], columns.properties.offsets[1]);
    expect(parse(slice)).toEqual({ amount: 12.5, x: parse(text) });
  });

  it.each(rows(MUST_REFUSE))("is refused: %s", (_row, text) => {
    expect(() => parse(text), "JSON.parse").toThrow();
    const { verdict, reason, pointer } = verdictOn(inEvent(text));
    expect(verdict).toBe("reject");
    expect(NOT_JSON).toContain(reason);
    const at = Number(/^@(\d+)$/.exec(pointer!)?.[1] ?? Number.NaN);
    // The event is good up to the text, so the first bad byte lies in it or behind it.
    if (reason !== "encoding.surrogate") {
      expect(at).toBeGreaterThanOrEqual(HEAD.length);
      expect(at).toBeLessThanOrEqual(HEAD.length + Buffer.from(text).length + TAIL.length);
    }
  });

  it.each(rows(MUST_REFUSE))("is refused as a record of its own: %s", (_row, text) => {
    expect(NOT_JSON).toContain(verdictOn(Buffer.from(text)).reason);
  });

  it.each(rows(MUST_READ))("is no event but JSON, as a record of its own: %s", (_row, text) => {
    const { reason } = verdictOn(Buffer.from(text));
    const value = parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    const holdsObject = Array.isArray(value) && typeof value[0] === "object" && value[0] !== null && !Array.isArray(value[0]);
    expect(reason).toBe(isObject ? "schema.required" : holdsObject ? "batch_not_allowed" : "schema.not_object");
  });

  it.each(decided)("is $decision by decision: $name", ({ text, decision }) => {
    expect(verdictOn(inEvent(text)).reason ?? "ok").toBe(decision);
  });

  it.each(Object.entries(WHOLE_RECORDS))("as a record of its own: %s", (_row, [text, decision]) => {
    expect(verdictOn(Buffer.from(text)).reason).toBe(decision);
  });

  it("every beginning of a good event is refused, and its whole is not", () => {
    const good = inEvent('[1.5e-3, "\\u00e9é\\ud83d\\ude00", true, false, null, {"a": {}}]');
    for (let length = 0; length < good.length; length++) {
      const { reason } = verdictOn(good.subarray(0, length));
      expect(length === 0 ? ["json.empty"] : ["json.syntax", "encoding", "encoding.surrogate"], `${length} bytes`).toContain(reason);
    }
    expect(verdictOn(good).verdict).toBe("ok");
  });
});
