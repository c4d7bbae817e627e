import { beforeAll, describe, expect, it } from "vitest";
import { gzipSync } from "node:zlib";
import type { Validator } from "#functions/validator/scanner/validator.ts";
import { goodEvent, NOW_MS, type RecordInput, seedValidator, validateRecords, verdictOf, bytesAt } from "#test/support/validated-event.ts";

type Row = readonly [id: string, what: string, input: string | Uint8Array | null | RecordInput, expected: string, pointer?: string];

const good = JSON.stringify(goodEvent());
const with_ = (changes: Record<string, unknown>): string => JSON.stringify(goodEvent(changes));
/** The good event with `text` as the value of properties.x, written as it stands. */
const x = (text: string): string => good.replace('{"amount":12.5', `{"x":${text},"amount":12.5`);
const without = (field: string): string =>
  JSON.stringify(Object.fromEntries(Object.entries(goodEvent()).filter(([name]) => name !== field)));
const bytes = (...parts: (string | number)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part))));
const nested = (depth: number): string => x("[".repeat(depth) + "]".repeat(depth));
const keys = (count: number): string => x(`{${Array.from({ length: count }, (_, i) => `"k${i}":0`).join(",")}}`);
const sized = (size: number): string => `${good}${" ".repeat(size - good.length)}`;
const at = (deltaMs: number): string => with_({ event_time: new Date(NOW_MS + deltaMs).toISOString() });
const DAY_MS = 86_400_000;

const ROWS: readonly Row[] = [
  ["B01", "zero-length value", "", "json.empty", "@0"],
  ["B01", "one space", " ", "json.empty", "@0"],
  ["B01", "newline only", "\n", "json.empty", "@0"],
  ["B02", "cut off", '{"a":1', "json.syntax", "@6"],
  ["B02", "extra brace", '{"a":1}}', "json.syntax", "@7"],
  ["B02", "trailing comma", '{"a":1,}', "json.syntax", "@7"],
  ["B02", "single quotes", "{'a':1}", "json.syntax", "@1"],
  ["B02", "comment", '// c\n{"a":1}', "json.syntax", "@0"],
  ["B03", "two documents", `${good}\n${good}`, "json.multiple", `@${good.length + 1}`],
  ["B04", "byte order mark", bytes(0xef, 0xbb, 0xbf, good), "encoding.bom", "@0"],
  ["B05", "UTF-16 with mark", Buffer.from(`\ufeff${good}`, "utf16le"), "encoding", "@0"],
  ["B05", "UTF-16 without mark", Buffer.from(good, "utf16le"), "encoding", "@0"],
  ["B05", "UTF-16, big endian", Buffer.from(good, "utf16le").swap16(), "encoding", "@0"],
  ["B05", "Latin-1", Buffer.from(good.replace("DE", "Österreich"), "latin1"), "encoding", `@${good.indexOf("DE")}`],
  ["B05", "bad syntax before bad bytes", bytes('{"a":tru, "b":"', 0xff, '"}'), "encoding", "@15"],
  ["B06", "byte FF in a string", bytes('{"a":"', 0xff, '"}'), "encoding", "@6"],
  ["B06", "over-long C0 AF", bytes('{"a":"', 0xc0, 0xaf, '"}'), "encoding", "@6"],
  ["B06", "encoded surrogate", bytes('{"a":"', 0xed, 0xa0, 0x80, '"}'), "encoding", "@6"],
  ["B06", "beyond U+10FFFF", bytes('{"a":"', 0xf4, 0x90, 0x80, 0x80, '"}'), "encoding", "@6"],
  ["B06", "cut character at the end", bytes('{"a":"', 0xe2, 0x82), "encoding", "@6"],
  ["B07", "lone high surrogate", x('"\\uD800"'), "encoding.surrogate", "/properties/x"],
  ["B07", "lone low surrogate", x('"a\\uDC00b"'), "encoding.surrogate", "/properties/x"],
  ["B07", "high then high", x('"\\uD800\\uD800"'), "encoding.surrogate", "/properties/x"],
  ["B07", "pair", x('"\\uD83D\\uDE00"'), "ok"],
  ["B08", "raw control byte", x('"\u0001"'), "json.syntax"],
  ["B08", "NUL between tokens", `${good.slice(0, 20).replace('{"', '{\0"')}${good.slice(20)}`, "json.syntax", "@1"],
  ["B09", "gzip", gzipSync(good), "format", "@0"],
  ["B09", "schema registry framing", bytes(0, 0, 0, 0, 7, 2, 65), "format", "@0"],
  ["B09", "Avro container", bytes("Obj", 1, "avro.schema"), "format", "@0"],
  ["B10", "null", "null", "schema.not_object", ""],
  ["B10", "true", "true", "schema.not_object", ""],
  ["B10", "42", "42", "schema.not_object", ""],
  ["B10", "string", '"x"', "schema.not_object", ""],
  ["B10", "empty array", "[]", "schema.not_object", ""],
  ["B10", "malformed scalar", "nul", "json.syntax", "@3"],
  ["B11", "array of 1,000 events", `[${Array(1_000).fill("{}").join(",")}]`, "batch_not_allowed", ""],
  ["B11", "array of 5,000 events", `[${Array(5_000).fill("{}").join(",")}]`, "batch_not_allowed", ""],
  ["B12", "2^53 + 1 in an id", good.replace("42", "9007199254740993"), "number.unsafe", "/user_id"],
  ["B12", "2^53 + 1 in an amount", good.replace("12.5", "9007199254740993"), "number.unsafe", "/properties/amount"],
  ["B12", "-(2^53)", x("-9007199254740992"), "number.unsafe", "/properties/x"],
  ["B12", "2^53 - 1", x("9007199254740991"), "ok"],
  ["B12", "with a fraction", x("9007199254740993.0"), "number.unsafe", "/properties/x"],
  ["B13", "1e400", x("1e400"), "number.range", "/properties/x"],
  ["B13", "1e-400", x("1e-400"), "number.range", "/properties/x"],
  ["B13", "0e400", x("0e400"), "ok"],
  ["B14", "-0", x("-0"), "ok"],
  ["B14", "1.0", x("1.0"), "ok"],
  ["B14", "1e0", x("1e0"), "ok"],
  ["B15", "1,000-digit integer", x("1".repeat(1_000)), "number.unsafe", "/properties/x"],
  ["B15", "1,000-digit fraction", x(`0.${"1".repeat(1_000)}`), "number.range", "/properties/x"],
  ["B15", "1,000-digit exponent", x(`1e${"0".repeat(1_000)}1`), "number.range", "/properties/x"],
  ...["NaN", "Infinity", "-Infinity", "01", "-01", "+1", ".5", "1.", "1e", "1e+", "0x1F", "-", "1_000", "--1"].map((text): Row => [
    "B16",
    text,
    x(text),
    "json.syntax",
  ]),
  ["B17", "number as text", with_({ properties: { amount: "12.50" } }), "schema.type", "/properties/amount"],
  ["B17", "boolean as number", with_({ properties: { amount: true } }), "schema.type", "/properties/amount"],
  ["B18", "negative amount", with_({ properties: { amount: -1 } }), "schema.range", "/properties/amount"],
  ["B18", "amount 1e308", with_({ properties: { amount: 1e308 } }), "schema.range", "/properties/amount"],
  ["B18", "negative count", with_({ event_type: "add_to_cart", properties: { quantity: -3 } }), "schema.range", "/properties/quantity"],
  ["B20", "33 KB string", x(`"${"a".repeat(33_000)}"`), "size.field", "/properties/x"],
  ["B20", "string at the limit", x(`"${"a".repeat(32_768)}"`), "ok"],
  ["B20", "10 MB string", x(`"${"a".repeat(10 << 20)}"`), "size.event", ""],
  ["B21", "escaped NUL", x('"a\\u0000b"'), "text.nul", "/properties/x"],
  ["B22", "right-to-left, joiners", x('"\u202eabc\u200d\u0301\u0301\u0301"'), "ok"],
  ["B23", "Cyrillic look-alike", with_({ event_type: "purchаse" }), "unknown_event", "/event_type"],
  ["B24", "NFC and NFD", x('"\u00e9 e\u0301"'), "ok"],
  ["B25", "line break in text", with_({ session_id: "\r\n2026-01-01 ERROR fake line" }), "ok"],
  ["B26", "terminal escapes", x('"\\u001b[2J\\u001b]0;x\\u0007"'), "ok"],
  ["B27", "formula", x('"=HYPERLINK(1)"'), "ok"],
  ["B28", "templates", x('"${jndi:ldap://x} {{7*7}} %s%n"'), "ok"],
  ["B30", "100,000 nested arrays", "[".repeat(100_000), "json.depth"],
  ["B30", "100,000 nested objects", '{"a":'.repeat(50_000), "json.depth"],
  ["B31", "depth at the limit", nested(30), "ok"],
  ["B31", "depth over the limit", nested(31), "json.depth", `/properties/x${"/0".repeat(30)}`],
  ["B32", "1,001 array items", x(`[${Array(1_001).fill(0).join(",")}]`), "json.items", "/properties/x/1000"],
  ["B32", "1,000 array items", x(`[${Array(1_000).fill(0).join(",")}]`), "ok"],
  ["B32", "keys at the limit", keys(1_000 - 15), "ok"],
  ["B32", "keys over the limit", keys(1_000), "json.keys"],
  ["B32", "30,000 keys", keys(20_000), "json.keys"],
  ["B33", "size at the limit", sized(262_144), "ok"],
  ["B33", "size over the limit", sized(262_145), "size.event", ""],
  ["B34", "near the broker's limit", sized(1_048_000), "size.event", ""],
  ["B35", "duplicate key, unnamed", x('{"qty":1,"qty":-1}'), "json.duplicate_key", "/properties/x/qty"],
  ["B35", "duplicate key, in an array", x('[{"qty":1,"qty":-1}]'), "json.duplicate_key", "/properties/x/0/qty"],
  ["B35", "duplicate key, envelope", good.replace('"user_id":42', '"user_id":42,"user_id":43'), "json.duplicate_key", "/user_id"],
  ["B35", "duplicate key, one escaped", good.replace('"user_id":42', '"user_id":42,"\\u0075ser_id":43'), "json.duplicate_key", "/user_id"],
  ["B35", "duplicate key, both escaped in an array", x('[{"\\u0061":1,"\\u0061":2}]'), "json.duplicate_key", "/properties/x/0/a"],
  ["B35", "same key in two objects", x('[{"a":1},{"a":2,"b":{"a":3}}]'), "ok"],
  ...[10, 17, 40, 400].flatMap((count): Row[] => {
    const members = Array.from({ length: count }, (_, i) => `"k${i}":0`).join(",");
    return [
      ["B35", `duplicate of the first of ${count} keys`, x(`[{${members},"k0":1}]`), "json.duplicate_key", "/properties/x/0/k0"],
      ["B35", `duplicate of the last of ${count} keys, escaped`, x(`[{${members},"\\u006b${count - 1}":1}]`), "json.duplicate_key"],
      ["B35", `${count} keys in two objects`, x(`[{${members}},{${members}}]`), "ok"],
      ["B35", `duplicate among ${count} named by place`, x(`{${members},"k0":1}`), "json.duplicate_key", "/properties/x/k0"],
    ];
  }),
  ["B36", "empty key", x('{"":1}'), "ok"],
  ["B36", "empty key twice", x('[{"":1,"":2}]'), "json.duplicate_key", "/properties/x/0/"],
  ["B36", "10 KB key", x(`{"${"k".repeat(10_240)}":1}`), "size.key"],
  ["B36", "a.b beside a: {b}", x('{"a.b":1,"a":{"b":2}}'), "ok"],
  ["B37", "unknown extra fields are kept", with_({ extra: 1 }), "ok"],
  ["B38", "numeric keys", keys(900).replaceAll('"k', '"'), "ok"],
  ["B39", "__proto__ at the top", good.replace("{", '{"__proto__":{"isAdmin":true},'), "forbidden_key", "/__proto__"],
  ["B39", "__proto__ nested", x('{"__proto__":{"isAdmin":true}}'), "forbidden_key", "/properties/x/__proto__"],
  ["B39", "__proto__ escaped", x('{"\\u005f_proto__":1}'), "forbidden_key", "/properties/x/__proto__"],
  ["B40", "constructor.prototype", x('{"constructor":{"prototype":{"x":1}}}'), "forbidden_key", "/properties/x/constructor"],
  ["B40", "prototype", x('[{"prototype":1}]'), "forbidden_key", "/properties/x/0/prototype"],
  ["B41", "names of methods", x('{"hasOwnProperty":1,"toString":2,"valueOf":3,"toJSON":4,"then":5,"length":6}'), "ok"],
  ["B42", "user id __proto__", with_({ user_id: "__proto__" }), "id.format", "/user_id"],
  ["B43", "event type constructor", with_({ event_type: "constructor" }), "unknown_event", "/event_type"],
  ["B43", "event type toString", with_({ event_type: "toString" }), "unknown_event", "/event_type"],
  ["B44", "$ref and $data", x('{"$ref":"#/x","$data":"1/x"}'), "ok"],
  ["B46", "required field missing", with_({ properties: {} }), "schema.required", "/properties/amount"],
  ["B46", "required field null", with_({ properties: { amount: null } }), "schema.required", "/properties/amount"],
  ["B46", "event_type missing", without("event_type"), "schema.required", "/event_type"],
  ["B46", "event_type null", with_({ event_type: null }), "schema.required", "/event_type"],
  ["B46", "event_type empty", with_({ event_type: "" }), "schema.required", "/event_type"],
  ["B46", "event_type blank", with_({ event_type: "  \t" }), "schema.required", "/event_type"],
  ["B46", "event_time missing", without("event_time"), "schema.required", "/event_time"],
  ["B46", "user_id missing", without("user_id"), "schema.required", "/user_id"],
  ["B46", "user_id null", with_({ user_id: null }), "schema.required", "/user_id"],
  [
    "B47",
    "500 errors in one event",
    JSON.stringify({ event_id: 1, ...Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${i}`, null])) }),
    "schema.type",
    "/event_id",
  ],
  ["B48", "unknown event type", with_({ event_type: "teleport" }), "unknown_event", "/event_type"],
  ["B49", "schema version 99", with_({ schema_version: 99 }), "schema.version", "/schema_version"],
  ["B49", 'schema version "1"', with_({ schema_version: "1" }), "schema.version", "/schema_version"],
  ["B49", "schema version -1", with_({ schema_version: -1 }), "schema.version", "/schema_version"],
  ["B49", "schema version null", with_({ schema_version: null }), "schema.version", "/schema_version"],
  ["B49", "schema version missing is the first", without("schema_version"), "ok"],
  ["B50", "event type in another case", with_({ event_type: "Purchase" }), "unknown_event", "/event_type"],
  ["B51", "{}", "{}", "schema.required", "/event_id"],
  ["B51", "envelope without body", without("properties"), "schema.required", "/properties/amount"],
  ["B53", "card number in free text", x('"4111 1111 1111 1111"'), "ok"],
  ["B55", "event_id missing", without("event_id"), "schema.required", "/event_id"],
  ["B56", "event_id null", with_({ event_id: null }), "schema.required", "/event_id"],
  ["B56", "event_id undefined", with_({ event_id: "undefined" }), "id.placeholder", "/event_id"],
  ["B56", "event_id [object Object]", with_({ event_id: "[object Object]" }), "id.placeholder", "/event_id"],
  ["B56", "event_id all zeros", with_({ event_id: "00000000-0000-0000-0000-000000000000" }), "id.placeholder", "/event_id"],
  ["B56", "user_id guest", with_({ user_id: "guest" }), "id.placeholder", "/user_id"],
  ["B56", "event_id without dashes", with_({ event_id: "0190f2a67b1c4d3e8f000123456789ab" }), "id.format", "/event_id"],
  ["B56", "event_id with a g", with_({ event_id: "0190f2a6-7b1c-4d3e-8f00-0123456789ag" }), "id.format", "/event_id"],
  ["B56", "event_id a number", with_({ event_id: 7 }), "schema.type", "/event_id"],
  ["B56", "user_id with leading zero", with_({ user_id: "042" }), "id.format", "/user_id"],
  ["B56", "user_id negative", with_({ user_id: -42 }), "schema.range", "/user_id"],
  ["B56", "user_id 2^64", with_({ user_id: "18446744073709551616" }), "schema.range", "/user_id"],
  ["B56", "user_id 2^64 - 1", { value: with_({ user_id: "18446744073709551615" }), key: "18446744073709551615" }, "ok"],
  ["B56", "user_id decimal", with_({ user_id: 42.5 }), "schema.type", "/user_id"],
  ["B61", "key of another user", { value: good, key: "43" }, "key.mismatch", "/user_id"],
  ["B61", "key with leading zero", { value: good, key: "042" }, "key.mismatch", "/user_id"],
  ["B61", "key as 8 bytes", { value: good, key: bytes(0, 0, 0, 0, 0, 0, 0, 42) }, "key.mismatch", "/user_id"],
  ["B62", "+10 years", at(3_650 * DAY_MS), "time.future", "/event_time"],
  ["B62", "+6 min", at(360_000), "time.future", "/event_time"],
  ["B62", "+5 min", at(300_000), "ok"],
  ["B62", "+5 min and 1 ms", at(300_001), "time.future", "/event_time"],
  ["B62", "+4 min", at(240_000), "ok"],
  ["B63", "0", with_({ event_time: 0 }), "time.ancient", "/event_time"],
  ["B63", "-1", with_({ event_time: -1 }), "time.ancient", "/event_time"],
  ["B63", "1970", with_({ event_time: "1970-01-01T00:00:00Z" }), "time.ancient", "/event_time"],
  ["B63", "31 days old", at(-31 * DAY_MS), "time.ancient", "/event_time"],
  ["B63", "30 days old", at(-30 * DAY_MS), "ok"],
  [
    "B63",
    "31 days old from a historical source",
    with_({ event_time: new Date(NOW_MS - 31 * DAY_MS).toISOString(), source: "flights" }),
    "ok",
  ],
  ["B64", "seconds", with_({ event_time: Math.floor(NOW_MS / 1_000) }), "time.unit", "/event_time"],
  ["B64", "milliseconds", with_({ event_time: NOW_MS }), "ok"],
  ["B64", "microseconds", with_({ event_time: NOW_MS * 1_000 }), "time.unit", "/event_time"],
  ["B64", "nanoseconds", good.replace('"2026-11-24T09:00:00.000Z"', `${NOW_MS}000000`), "time.unit", "/event_time"],
  ["B64", "milliseconds as text", with_({ event_time: String(NOW_MS) }), "time.unparseable", "/event_time"],
  ["B64", "milliseconds with a fraction", with_({ event_time: NOW_MS + 0.5 }), "schema.type", "/event_time"],
  ...[
    "2026-02-30T09:00:00Z",
    "2025-02-29T09:00:00Z",
    "2026-11-24T24:00:00Z",
    "2026-11-24T09:00:60Z",
    "2026-11-24T09:60:00Z",
    "2026-11-24T09:00:00+25:00",
    "2026-11-24T09:00:00+00:60",
    "2026-11-24T09:00:00+0000",
    "2026-11-24T09:00Z",
    "2026-11-24",
    "2026-13-24T09:00:00Z",
    "2026-09-88T09:00:00Z",
    "2026-11-00T09:00:00Z",
    "2026-11-24 09:00:00Z",
    "2026-11-24T09:00:00.Z",
    "2026-11-24T09:00:00ZZ",
    " 2026-11-24T09:00:00Z",
    "24/11/2026",
    "yesterday",
    "x",
  ].map((text): Row => ["B65", text, with_({ event_time: text }), "time.unparseable", "/event_time"]),
  ["B66", "no zone", with_({ event_time: "2026-11-24T09:00:00" }), "time.zone", "/event_time"],
  ["B66", "no zone, fraction", with_({ event_time: "2026-11-24T09:00:00.123" }), "time.zone", "/event_time"],
  ["B67", "event time a day before Kafka's", at(-DAY_MS), "ok"],
  ["B67", "Kafka timestamp -1", { value: good, timestampMs: -1 }, "warning:time.unchecked"],
  ["B71", "SQL", x(`"'); DROP TABLE events; --"`), "ok"],
  ["B74", "unknown source", with_({ source: "events; drop" }), "unknown_source", "/source"],
  ["B75", "1 MB session id", with_({ session_id: "s".repeat(20_000) }), "size.field", "/session_id"],
  ["B78", "text that looks like values", x('"1e3"'), "ok"],
  ["B79", "tombstone", null, "value.null", ""],
  ["B80", "null key", { value: good, key: null }, "key.missing", "/user_id"],
  ["B80", "empty key", { value: good, key: "" }, "key.missing", "/user_id"],
  ["B80", "1 MB key", { value: good, key: "4".repeat(1 << 20) }, "key.mismatch", "/user_id"],
  [
    "B81",
    "10,000 headers",
    { value: good, headers: Array.from({ length: 10_000 }, (_, i) => [`h${i}`, bytes("v")] as const) },
    "headers.size",
    "",
  ],
  ["B81", "1 MB header", { value: good, headers: [["h", new Uint8Array(1 << 20)]] }, "headers.size", ""],
  [
    "B81",
    "repeated names, not UTF-8",
    {
      value: good,
      headers: [
        ["h", bytes(0xff)],
        ["h", bytes()],
      ],
    },
    "ok",
  ],
];

function inputOf(input: Row[2]): RecordInput {
  return input === null || typeof input === "string" || input instanceof Uint8Array ? { value: input } : input;
}

describe("a hostile record has one verdict, reason and pointer", () => {
  let validator: Validator;
  beforeAll(() => {
    validator = seedValidator();
  });

  it.each(ROWS.map(([id, what, input, expected, pointer]) => ({ id, what, input, expected, pointer })))(
    "$id $what",
    ({ input, expected, pointer }) => {
      const record = inputOf(input);
      const columns = validateRecords(validator, [{ value: good }, record, { value: good }]);
      const actual = verdictOf(columns, 1);
      const [verdict, reason = null] =
        expected === "ok" ? ["ok"] : expected.startsWith("warning:") ? expected.split(":") : ["reject", expected];
      expect(actual).toMatchObject({ verdict, reason });
      if (pointer !== undefined) expect(actual.pointer).toBe(pointer);
      // Its neighbours are untouched, and a reject keeps its bytes.
      expect([verdictOf(columns, 0).verdict, verdictOf(columns, 2).verdict]).toEqual(["ok", "ok"]);
      if (verdict === "reject" && record.value !== null) {
        const kept = bytesAt(columns.raw, 1)!;
        const original = Buffer.from(record.value);
        expect(Buffer.compare(kept, original.subarray(0, 900_000))).toBe(0);
      } else expect(bytesAt(columns.raw, 1)).toBeNull();
    },
  );

  it("leaves no trace on Object.prototype", () => {
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
  });

  it("takes less than 5 ms for any of them", () => {
    const slow: string[] = [];
    for (const [id, what, input] of ROWS) {
      const record = inputOf(input);
      const value = typeof record.value === "string" ? Buffer.from(record.value) : record.value;
      let bestMs = Infinity;
      for (let round = 0; round < 10; round++) {
        validator.begin();
        const startedAtMs = performance.now();
        validator.add(value, 0, value?.length ?? 0, Buffer.from("42"), record.headers ?? null, 0, NOW_MS);
        bestMs = Math.min(bestMs, performance.now() - startedAtMs);
      }
      if (bestMs >= 5) slow.push(`${id} ${what}: ${bestMs.toFixed(1)} ms`);
    }
    expect(slow).toEqual([]);
  });
});
