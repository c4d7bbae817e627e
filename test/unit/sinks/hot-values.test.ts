import { expect, test } from "vitest";
import { encodeClean } from "#shared/events/block.ts";
import { activityKey, sessionKey } from "#shared/read/hot-keys.ts";
import { ActivityBatch } from "#sinks/redis/activity-batch.ts";
import { userIdAt } from "#sinks/redis/hot-batch.ts";
import { cleanColumns, LARGE_USER, rowOf, type SinkRow } from "#test/support/sink-rows.ts";

/** Key -> last event time. */
function lastEvents(rows: readonly SinkRow[], records = 1): Map<string, string> {
  const batch = new ActivityBatch("live");
  const size = Math.ceil(rows.length / records);
  for (let from = 0; from < rows.length; from += size) batch.add(encodeClean(cleanColumns(rows.slice(from, from + size))), Date.now());
  const found = new Map<string, string>();
  for (const [kind, key, , first, second] of batch.values(Date.now())) found.set(String(key), String(kind === "session" ? second : first));
  expect(batch.size).toBe(found.size);
  return found;
}

test.each([1, 7])("one value for each user and session, that of the newest event, whatever the number of rows; records: %i", (records) => {
  const rows = Array.from({ length: 300 }, (_, i) => rowOf(i + 1));
  const newest = new Map<string, string>();
  for (const { userId, sessionId, eventTimeMs } of rows) {
    newest.set(activityKey("live", String(userId)), String(eventTimeMs));
    if (typeof sessionId === "string") newest.set(sessionKey("live", sessionId), String(eventTimeMs));
  }
  expect(lastEvents(rows, records)).toEqual(newest);
});

test("an event that comes behind a newer one of its user changes nothing", () => {
  const older = { ...rowOf(8), eventTimeMs: rowOf(1).eventTimeMs! - 1_000 };
  expect(lastEvents([rowOf(1), older])).toEqual(lastEvents([rowOf(1)]));
});

test("a user id beyond 2^53 keeps every digit", () => {
  expect([...lastEvents([rowOf(7)]).keys()].toSorted()).toEqual(["session:s0", `user:${LARGE_USER}:activity`]);
  expect(userIdAt(Uint32Array.of(0xffff_ffff, 0xffff_ffff), 0)).toBe("18446744073709551615");
  expect(userIdAt(Uint32Array.of(0, 0x20_0000), 0)).toBe("9007199254740992");
  expect(userIdAt(Uint32Array.of(5, 0), 0)).toBe("5");
});

test("a session name of any script is a key as it is", () => {
  expect(lastEvents([{ ...rowOf(1), sessionId: "会话-ü" }]).has("session:会话-ü")).toBe(true);
});

test("values that had expired when the log is read again are left out", () => {
  const batch = new ActivityBatch("live");
  const nowMs = Date.now();
  batch.add(encodeClean(cleanColumns([rowOf(1)])), nowMs - 2_000_000);
  expect(batch.values(nowMs).map((value) => value.slice(0, 3))).toEqual([["activity", "user:1:activity", 1_600]]);
});

test("live names are the plain ones, every other lane has its prefix", () => {
  expect(activityKey("live", "7")).toBe("user:7:activity");
  expect(sessionKey("live", "a")).toBe("session:a");
  expect(activityKey("history", "7")).toBe("history:user:7:activity");
});
