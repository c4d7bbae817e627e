import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { flightsEvents, FLIGHTS_MAPPING } from "#loadgen/flights.ts";
import { type Mapping, mapRows, readMapping } from "#loadgen/mapping.ts";

const MAPPING: Mapping = {
  source: "meters",
  eventType: "reading",
  userId: "meter",
  eventTime: { field: "t", unit: "seconds", since: "2026-01-01T00:00:00Z", spreadMs: 1_000 },
  properties: ["kwh", "absent"],
};

interface Event {
  readonly event_id: string;
  readonly event_time: string;
  readonly user_id: number;
}

const events = (rows: Record<string, unknown>[], mapping = MAPPING, run?: string): Event[] =>
  Array.from(mapRows(rows, mapping, run === undefined ? {} : { run }), ({ line }) => JSON.parse(line) as Event);

test("a row becomes an event with its key", () => {
  const [mapped] = mapRows([{ meter: 7, t: 60, kwh: 1.5, other: "x" }], MAPPING);
  expect(mapped!.key).toBe("7");
  expect(JSON.parse(mapped!.line)).toEqual({
    event_id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
    event_time: "2026-01-01T00:01:00.000Z",
    user_id: 7,
    event_type: "reading",
    source: "meters",
    schema_version: 1,
    properties: { kwh: 1.5 },
  });
});

test("rows of one time share its span in their order", () => {
  const times = events([{ meter: 1, t: 0 }, ...Array.from({ length: 3 }, () => ({ meter: 1, t: 5 })), { meter: 1, t: 6 }]).map((event) =>
    event.event_time.slice(17),
  );
  expect(times).toEqual(["00.000Z", "05.000Z", "05.333Z", "05.666Z", "06.000Z"]);
});

test("ids repeat when the file is sent again and differ between rows and between named runs", () => {
  const rows = [
    { meter: 1, t: 0 },
    { meter: 1, t: 1 },
  ];
  const ids = (run?: string): string[] => events(rows, MAPPING, run).map((event) => event.event_id);
  expect(ids()).toEqual(ids());
  expect(new Set([...ids(), ...ids("second")]).size).toBe(4);
});

test("a row that does not fit is named with its number and field", () => {
  expect(() =>
    events([
      { meter: 1, t: 0 },
      { meter: "x", t: 0 },
    ]),
  ).toThrow('row 2, field meter: expected a whole number from 0, got "x"');
  expect(() => events([{ meter: 1 }])).toThrow("row 1, field t: expected a number, got nothing");
});

describe("a mapping file", () => {
  const mappingOf = (content: string): Mapping => {
    const folder = mkdtempSync(join(tmpdir(), "weir-mapping-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "m.json"), content);
    return readMapping(join(folder, "m.json"));
  };

  test("is refused whole, every problem named", () => {
    expect(() => mappingOf("{")).toThrow("m.json");
    expect(() => mappingOf('{"source":"s","eventTime":{"field":"t","unit":"weeks"},"properties":[],"extra":1}')).toThrow(
      /eventType(.|\n)*userId(.|\n)*eventTime/,
    );
  });

  test("may name RFC 3339 times, an id and a session", () => {
    const mapping = mappingOf(
      '{"source":"s","eventType":"e","userId":"u","eventTime":{"field":"t","format":"rfc3339"},"eventId":"id","sessionId":"visit","properties":[]}',
    );
    expect(events([{ u: 1, t: "2026-01-01T02:00:00+02:00", id: "abc", visit: 9 }], mapping)[0]).toMatchObject({
      event_id: "abc",
      event_time: "2026-01-01T00:00:00.000Z",
      session_id: "9",
    });
  });
});

test("the flights: 200,000 events in the order of time, every id once, 1,079 users, all on one day", () => {
  expect(readMapping(FLIGHTS_MAPPING).source).toBe("flights");
  const ids = new Set<string>();
  const users = new Set<number>();
  let previous = "2001-01-01T00:00:00.000Z";
  for (const { line, key } of flightsEvents()) {
    const event = JSON.parse(line) as Event;
    if (event.event_time < previous) expect.fail(`${event.event_time} comes after ${previous}`);
    previous = event.event_time;
    ids.add(event.event_id);
    users.add(event.user_id);
    if (key !== String(event.user_id)) expect.fail(`key ${key} of user ${event.user_id}`);
  }
  expect({ events: ids.size, users: users.size, last: previous }).toEqual({
    events: 200_000,
    users: 1_079,
    last: "2001-01-01T23:59:57.692Z",
  });
});
