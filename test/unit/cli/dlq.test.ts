import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { run } from "../../../cli/main.ts";
import { editEvent, readEdits } from "../../../cli/dlq/event-edit.ts";
import { matches, readFilter } from "../../../cli/dlq/filter.ts";
import { type Letter, readLetter } from "../../../cli/dlq/letter.ts";
import { layOut } from "../../../cli/dlq/json-layout.ts";
import { reasonText } from "../../../cli/dlq/reason-advice.ts";
import { commandHash } from "../../../cli/dlq/replay-request.ts";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { createValidator } from "#functions/validator/scanner/validator.ts";
import { decodeOffsets, encodeOffsets } from "#shared/clients/postgres/dlq-replays-store.ts";
import type { RecordHeader } from "#shared/clients/kafka/types.ts";
import { decodeHeaders } from "#shared/events/headers.ts";
import { HEADERS } from "#shared/events/names.ts";
import { REASON_CODES } from "#shared/events/reasons.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import type { EventRow } from "#test/support/event-batch.ts";
import { runFold } from "#test/support/fold-run.ts";

const edit = (value: string, options: Parameters<typeof readEdits>[0]): string | undefined =>
  editEvent(Buffer.from(value), readEdits(options))?.value.toString();

describe("an edit", () => {
  test("renames, then deletes, then sets, and leaves everything else as it was, to the last digit", () => {
    const value = '{"user_id":18446744073709551615,"old":{"n":1.10},"gone":1,"properties":{"price":2.50,"x":1e3}}';
    expect(
      edit(value, { rename: ["/old=/properties/new"], delete: ["/gone", "/missing"], set: ["/properties/price=3.00", '/a/b="c"'] }),
    ).toBe('{"user_id":18446744073709551615,"properties":{"price":3.00,"x":1e3,"new":{"n":1.10}},"a":{"b":"c"}}');
  });

  test("that changes nothing gives back the very bytes", () => {
    const value = '{ "a" : 1.0, "a" : 1.0 }';
    expect(edit(value, { set: ["/a=1.0"], delete: ["/b"], rename: ["/x=/y"] })).toBe(value);
  });

  test("says what it changed", () => {
    const edited = editEvent(Buffer.from('{"a":"1","b":2}'), readEdits({ set: ["/a=1"], delete: ["/b"], rename: ["/c=/d"] }));
    expect(edited?.changes).toEqual([
      { pointer: "/b", before: "2", after: undefined },
      { pointer: "/a", before: '"1"', after: "1" },
    ]);
  });

  test("of what is no JSON object, or under a member that is none, is not made", () => {
    for (const value of ["", "[]", "7", "{", "\u0000", '{"a":1}', '{"a":[]}', '{"a":12345678901234567890}'])
      expect(edit(value, { set: ["/a/b=1"] }), value).toBeUndefined();
    expect(editEvent(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), readEdits({ set: ["/a=1"] }))).toBeUndefined();
  });

  test("with hostile names makes members and nothing else", () => {
    expect(edit("{}", { set: ["/__proto__/isAdmin=true", "/constructor/prototype/isAdmin=true"] })).toBe(
      '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}',
    );
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
  });

  test.each([
    [{ set: ["/a=text"] }, "is no JSON"],
    [{ set: ["a=1"] }, "must be /pointer=JSON"],
    [{ set: ["/a"] }, "must be /pointer=JSON"],
    [{ set: ["/~2=1"] }, "is no JSON pointer"],
    [{ rename: ["/a"] }, "must be /from=/to"],
    [{ delete: ["a"] }, "is no JSON pointer"],
    [{ delete: [""] }, "is no JSON pointer"],
  ])("that is written wrongly is refused: %j", (options, problem) => {
    expect(() => readEdits(options)).toThrow(problem);
  });
});

describe("a filter", () => {
  const letter = (changes: Partial<Letter> = {}): Letter => ({
    partition: 0,
    offset: 0,
    atMs: 1_000,
    key: Buffer.from("7"),
    value: Buffer.from('{"user_id":42}'),
    headers: [],
    reason: "schema.type",
    pointer: "",
    source: null,
    rulesVersion: 1,
    replays: 0,
    replay: "",
    truncated: [],
    reencoded: false,
    ...changes,
  });
  const accepts = (options: Parameters<typeof readFilter>[0], one = letter()): boolean => matches(readFilter(options, 10_000), one);

  test("names reasons, or families of them", () => {
    expect(accepts({})).toBe(true);
    expect(accepts({ reason: ["json.syntax", "schema.type"] })).toBe(true);
    expect(accepts({ reason: ["schema.*"] })).toBe(true);
    expect(accepts({ reason: ["json.*"] })).toBe(false);
    expect(() => readFilter({ reason: ["schema.typ"] }, 0)).toThrow("did you mean schema.type?");
    expect(() => readFilter({ reason: ["nothing.*"] }, 0)).toThrow("there is no reason");
  });

  test("names times, from and up to, or ages", () => {
    expect(accepts({ since: "9s" })).toBe(true);
    expect(accepts({ since: "8s" })).toBe(false);
    expect(accepts({ until: "1970-01-01T00:00:01Z" })).toBe(false);
    expect(accepts({ since: "1970-01-01T00:00:01Z", until: "1970-01-01T00:00:01.001Z" })).toBe(true);
    expect(readFilter({ since: "2d" }, 200_000_000).sinceMs).toBe(200_000_000 - 2 * 86_400_000);
    expect(() => readFilter({ since: "2026-01-01T00:00:00" }, 0)).toThrow("a time with its zone");
    expect(() => readFilter({ since: "soon" }, 0)).toThrow("a number with a unit");
  });

  test("names a user by the event's own id, or without one by the key", () => {
    expect(accepts({ user: "42" })).toBe(true);
    expect(accepts({ user: "7" })).toBe(false);
    expect(accepts({ user: "7" }, letter({ value: Buffer.from("broken") }))).toBe(true);
    expect(accepts({ user: "18446744073709551615" }, letter({ value: Buffer.from('{"user_id":18446744073709551615}') }))).toBe(true);
    expect(() => readFilter({ user: "me" }, 0)).toThrow("in decimal");
  });
});

describe("a dead letter", () => {
  const letterOf = (row: EventRow): Letter => {
    const [record] = runFold([{ kind: "block", logTimeMs: 1_700_000_000_000, rows: [row] }]).records;
    return readLetter(3, { offset: 9, timestampMs: 5, key: record!.key, value: record!.value, headers: record!.headers });
  };
  const names = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom(...Object.values(HEADERS).filter((name) => name !== HEADERS.replays && name !== HEADERS.replay)),
    fc.constantFrom("weir-original-", "weir-original-oseq", "weir-original-weir-original-p"),
  );
  const headers = fc.array(fc.tuple(names, fc.uint8Array({ maxLength: 5 })), { maxLength: 8 });

  test("gives back key, value and headers exactly as they came, whatever names the producer chose", () => {
    fc.assert(
      fc.property(headers, fc.uint8Array(), fc.option(fc.string({ minLength: 1 })), (sent, raw, key) => {
        const row = { sourceOffset: 3, verdict: "reject", reason: "json.syntax", pointer: "@1", raw, ...(key === null ? {} : { rawKey: key }), headers: sent as RecordHeader[] } as const; // prettier-ignore
        const letter = letterOf(row);
        expect(letter.headers.map(([name, value]) => [name, [...value]])).toEqual(sent.map(([name, value]) => [name, [...value]]));
        expect(letter).toMatchObject({ reason: "json.syntax", pointer: "@1", source: { topic: "events.raw", partition: 3, offset: 3 } });
        expect([letter.rulesVersion, letter.replays, letter.replay, letter.truncated]).toEqual([7, 0, "", []]);
        expect([...(letter.value ?? [])]).toEqual([...raw]);
      }),
      { numRuns: 300 },
    );
  });

  test("says which replay it came back from, and which parts may be cut short", () => {
    const headers = [[HEADERS.replays, Buffer.from("2")], [HEADERS.replay, Buffer.from("00ff/1/2")], ["x", Buffer.from("y")]] as const; // prettier-ignore
    const raw = Buffer.alloc(900_000, 0x20);
    const letter = letterOf({ sourceOffset: 3, verdict: "reject", reason: "size.event", raw, headers });
    expect(letter).toMatchObject({ replays: 2, replay: "00ff/1/2", truncated: ["value"] });
    expect(letter.headers.map(([name]) => name)).toEqual(["x"]);
  });
});

test("an accepted event keeps its count of replays in the block, so that it cannot come back as a conflict that was never replayed", () => {
  const validator = createValidator(compilePlan(loadSeedRelease()), DEFAULT_LIMITS);
  const event = {
    event_id: "0192f3a1-7b6e-7c1d-9a51-0f2d6c3b8e4f",
    event_time: "2026-01-01T00:00:00Z",
    user_id: 7,
    event_type: "purchase",
    properties: { amount: 1 },
  };
  const value = Buffer.from(JSON.stringify(event));
  const headers = [[HEADERS.replays, Buffer.from("2")]] as const;
  validator.begin();
  expect(validator.add(value, 0, value.length, Buffer.from("7"), headers, 0, Date.parse(event.event_time))).toBe(true);
  const column = validator.finish().headers;
  const stored = decodeHeaders(column.bytes.slice(column.offsets[0], column.offsets[1]));
  expect(stored.map(([name, bytes]) => [name, Buffer.from(bytes).toString()])).toEqual([[HEADERS.replays, "2"]]);
});

test("offsets come back as they were stored", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })), (some) => {
      const rising = some.toSorted((a, b) => a - b);
      expect(decodeOffsets(encodeOffsets(rising))).toEqual(rising);
    }),
  );
  expect(encodeOffsets(Array.from({ length: 10_000 }, (_, i) => 1_000_000_000 + 2 * i)).length).toBeLessThan(10_010);
});

test("the same words are the same command, in whatever order; others are another", () => {
  const words = { reason: ["a"], since: "1h", again: false };
  expect(commandHash({ since: "1h", reason: ["a"], user: undefined })).toBe(commandHash(words));
  expect(commandHash({ ...words, since: "2h" })).not.toBe(commandHash(words));
});

test("a value laid out is the same JSON, digit for digit", () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom(undefined, 1, "\t"), (text, space) => {
      const laidOut = layOut(JSON.stringify(JSON.parse(text), undefined, space));
      expect(laidOut).toBe(JSON.stringify(JSON.parse(text), undefined, 2));
    }),
    { numRuns: 500 },
  );
  expect(layOut('{"n":12345678901234567890.10}')).toBe('{\n  "n": 12345678901234567890.10\n}');
});

test("every reason has a text and something to do", () => {
  for (const code of REASON_CODES)
    expect(
      Object.values(reasonText(code)).every((text) => text.length > 10),
      code,
    ).toBe(true);
  expect(reasonText("toString").text).toContain("does not know");
});

test.each([
  [[]],
  [["lst"]],
  [["replay", "now"]],
  [["replay", "--set", "x"]],
  [["replay", "--rate", "0"]],
  [["show"]],
  [["export", "--raw"]],
  [["ls", "-n", "0"]],
])("weir dlq %j is a usage error before anything is opened", async (args) => {
  const code = await run(["dlq", ...args], {
    out: () => undefined,
    err: () => undefined,
    outIsTerminal: false,
    errIsTerminal: false,
    input: (async function* (): AsyncGenerator<Uint8Array> {})(),
    stop: new AbortController().signal,
  });
  expect(code).toBe(2);
});
