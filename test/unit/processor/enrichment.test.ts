import { describe, expect, test } from "vitest";
import { createFold, restoreFold } from "#processor/fold/partition-fold.ts";
import { JsonMember } from "#processor/operators/json-member.ts";
import { InvariantError } from "#shared/kernel/assert.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";
import type { EventRow } from "#test/support/event-batch.ts";
import { FOLD_OPTIONS, enrichmentBytes, inputRecord, runFold } from "#test/support/fold-run.ts";
import type { LogEntry, NaiveEnrichment } from "#test/support/naive-fold.ts";

const T0 = 1_700_002_800_000;

function block(first: number, ...rows: Partial<EventRow>[]): LogEntry {
  return {
    kind: "block",
    logTimeMs: T0,
    rows: rows.map((row, i) => Object.assign({ sourceOffset: first + i, eventId: first + i, eventTimeMs: T0 + first + i, userId: 7 }, row)),
  };
}

function named(table: NaiveEnrichment): LogEntry {
  return { kind: "enrichment", logTimeMs: T0, table };
}

const BY_SOURCE: NaiveEnrichment = { version: 4, key: "source", rows: { web: { tier: "1", region: "eu" }, app: { region: "us" } } };
const BY_PLAN: NaiveEnrichment = { version: 5, key: "/properties/account/plan", rows: { gold: { tier: "1" }, "12": { tier: "2" } } };

function enrichments(log: readonly LogEntry[]): (string | null)[] {
  return runFold(log).output.clean.map(({ enrichment }) => enrichment);
}

describe("enrichment", () => {
  test("gives rows behind the control record the attributes of their key, names in order, and nothing to others", () => {
    expect(
      enrichments([block(0, { source: "web" }), named(BY_SOURCE), block(1, { source: "web" }, { source: "tv" }, {}, { source: "app" })]),
    ).toEqual([null, '{"region":"eu","tier":"1"}', null, null, '{"region":"us"}']);
  });

  test("takes a value of the properties as key, as text, wherever it stands and however it is written", () => {
    const properties = [
      '{"account":{"plan":"gold"}}',
      '{"plan":"gold","other":{"account":{"plan":"gold"}}}',
      '{"x":[{"account":1},"}"],"account" : { "plan"\n:\t12 } }',
      String.raw`{"acc\u006funt":{"plan":"g\u006fld"}}`,
      '{"account":{"plan":null}}',
      '{"account":{"plan":["gold"]}}',
      '{"account":"gold"}',
      "{}",
      null,
    ];
    expect(enrichments([named(BY_PLAN), block(0, ...properties.map((text) => ({ properties: text })))])).toEqual([
      '{"tier":"1"}',
      null,
      '{"tier":"2"}',
      '{"tier":"1"}',
      ...Array.from({ length: 5 }, () => null),
    ]);
  });

  test("switches at one place of the log, also inside an epoch, and late rows have it too", () => {
    const type: NaiveEnrichment = { version: 9, key: "event_type", rows: { click: { kind: "ui" } } };
    const { output } = runFold([
      named(BY_SOURCE),
      block(0, { source: "app", eventTimeMs: T0 + 400_000 }),
      named(type),
      block(1, { source: "app" }),
    ]);
    expect([output.clean[0]!.enrichment, output.late[0]!.enrichment]).toEqual(['{"region":"us"}', '{"kind":"ui"}']);
  });

  test("named again by a second record, as after a publisher that died, changes no row, no count and no window", () => {
    const rows = (first: number): LogEntry =>
      block(first, { source: "web" }, { source: "tv" }, { source: "app", eventTimeMs: T0 + 400_000 });
    const once = runFold([rows(0), named(BY_SOURCE), rows(3), rows(6)]);
    const twice = runFold([rows(0), named(BY_SOURCE), rows(3), named(BY_SOURCE), named(BY_SOURCE), rows(6)]);
    expect(twice.output).toEqual(once.output);
    expect(twice.output.clean.at(-1)!.enrichment).toBe('{"region":"us"}');
    const replayed = runFold([rows(0), named(BY_SOURCE), rows(3), named(BY_SOURCE), named(BY_SOURCE), rows(6)], FOLD_OPTIONS, {
      restores: () => true,
    });
    expect(replayed.output).toEqual(twice.output);
    expect(replayed.progress.hash).toBe(twice.progress.hash);
  });

  test("lives on in a snapshot: a restored fold needs no table", () => {
    const { fold } = runFold([named(BY_SOURCE), block(0, { source: "web" })]);
    const restored = restoreFold(FOLD_OPTIONS, fold.snapshot());
    restored.apply(inputRecord(block(1, { source: "app" }), 2));
    expect(restored.takeOutputs()).toHaveLength(1);
    expect(
      Buffer.compare(
        restored.snapshot(),
        runFold([named(BY_SOURCE), block(0, { source: "web" }), block(1, { source: "app" })]).fold.snapshot(),
      ),
    ).toBe(0);
  });

  test("is asked for by the record that names it, and by no other", () => {
    const fold = createFold(FOLD_OPTIONS);
    const record = inputRecord(named(BY_SOURCE), 0);
    expect(fold.enrichmentNamedBy(record)).toEqual({ version: 4, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(fold.enrichmentNamedBy(inputRecord(block(0, {}), 0))).toBeNull();
    expect(fold.enrichmentNamedBy(inputRecord({ kind: "rules", logTimeMs: T0, version: 1 }, 0))).toBeNull();
    expect(() => fold.apply(record)).toThrow(InvariantError);
  });

  test("by another table is another hash, even where no row shows it", () => {
    const hash = (table: NaiveEnrichment): string => runFold([named(table), block(0, {})]).progress.hash;
    expect(hash(BY_SOURCE)).not.toBe(hash({ ...BY_SOURCE, rows: {} }));
    expect(hash(BY_SOURCE)).toBe(hash(BY_SOURCE));
  });

  test.each([
    ["no JSON", "{"],
    ["another version", '{"version":5,"key":"source","rows":{}}'],
    ["another key", '{"version":4,"key":"user_id","rows":{}}'],
    ["a path outside of the properties", '{"version":4,"key":"/device/os","rows":{}}'],
    ["no rows", '{"version":4,"key":"source"}'],
    ["an attribute that is no text", '{"version":4,"key":"source","rows":{"web":{"n":1}}}'],
    ["too many bytes", `{"version":4,"key":"source","rows":{},"x":"${"y".repeat(1 << 20)}"}`],
  ])("stops the fold at a table with %s, by name", (_name, text) => {
    const apply = (): unknown => createFold(FOLD_OPTIONS).apply(inputRecord(named(BY_SOURCE), 0), new TextEncoder().encode(text));
    expect(apply).toThrow(CorruptStateError);
    expect(apply).toThrow("enrichment table 4");
  });

  test.each([
    ["an array", (bytes: Uint8Array) => bytes],
    ["a Buffer", (bytes: Uint8Array) => Buffer.from(bytes)],
  ])("keeps nothing of the bytes it was given as %s", (_name, given) => {
    const bytes = given(enrichmentBytes(BY_SOURCE));
    const fold = createFold(FOLD_OPTIONS);
    fold.apply(inputRecord(named(BY_SOURCE), 0), bytes);
    const before = fold.snapshot();
    bytes.fill(0);
    expect(Buffer.compare(fold.snapshot(), before)).toBe(0);
  });
});

test("a member is found in any JSON exactly where JSON.parse finds it", () => {
  const documents = [
    '{"a":1,"b":{"c":"x"}}',
    ' { "b" : {"d":{"c":"no"},"c":true} } ',
    '{"b":{"c":-1.5e3}}',
    String.raw`{"q\"":"{","b":{"e":"\\","c":"\"}\n"}}`,
    '{"b":[{"c":1}],"c":2}',
    '{"b":{"c":{}}}',
    '{"b":{},"x":{"c":1}}',
    '{"b":{"c":""}}',
    "[]",
    '"b"',
    "7",
    "{}",
  ];
  const member = new JsonMember(["b", "c"]);
  for (const document of documents) {
    const bytes = Buffer.from(`xx${document}yy`);
    const parsed = (JSON.parse(document) as { b?: { c?: unknown } }).b?.c;
    const found = member.find(bytes, 2, bytes.length - 2) ? (member.text ?? bytes.toString("utf8", member.from, member.to)) : null;
    const isScalar = typeof parsed === "string" || typeof parsed === "boolean";
    const written = typeof parsed === "number" ? /"c":([^}]*)/.exec(document)![1] : isScalar ? String(parsed) : null;
    expect(found).toBe(written);
  }
});
