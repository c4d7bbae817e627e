import { expect, test } from "vitest";
import { activityOf, userIdAt } from "#sinks/redis/hot-values.ts";
import { cleanColumns, LARGE_USER, rowOf } from "#test/support/sink-rows.ts";

const pairs = (fields: readonly string[]): Record<string, string> =>
  Object.fromEntries(Array.from({ length: fields.length / 2 }, (_, i) => [fields[i * 2]!, fields[i * 2 + 1]!]));

test("one value for each user and session, that of the last row, whatever the number of rows", () => {
  const rows = Array.from({ length: 300 }, (_, i) => rowOf(i + 1));
  const values = activityOf("live", cleanColumns(rows));
  const last = new Map<string, number>();
  for (const { userId, sessionId, oseq } of rows) {
    last.set(`user:${userId}:activity`, oseq);
    if (typeof sessionId === "string") last.set(`session:${sessionId}`, oseq);
  }
  expect([...values.keys()].toSorted()).toEqual([...last.keys()].toSorted());
  for (const [key, { fields }] of values) expect(pairs(fields)["last_event_time"]).toBe(String(rowOf(last.get(key)!).eventTimeMs));
});

test("a user id beyond 2^53 keeps every digit", () => {
  expect([...activityOf("live", cleanColumns([rowOf(7)])).keys()]).toEqual([`user:${LARGE_USER}:activity`, "session:s0"]);
  expect(userIdAt(Uint32Array.of(0xffff_ffff, 0xffff_ffff), 0)).toBe("18446744073709551615");
  expect(userIdAt(Uint32Array.of(0, 0x20_0000), 0)).toBe("9007199254740992");
  expect(userIdAt(Uint32Array.of(5, 0), 0)).toBe("5");
});

test("a session name of any script is a key as it is", () => {
  const row = { ...rowOf(1), sessionId: "会话-ü" };
  expect(activityOf("live", cleanColumns([row])).has("session:会话-ü")).toBe(true);
});
