import { expect, test } from "vitest";
import { OperatingError, UnavailableError } from "#shared/kernel/errors.ts";
import { StoreGuard } from "#shared/read/store-guard.ts";

function guard(timeoutMs = 1_000): { store: StoreGuard; pass: (ms: number) => void } {
  let nowMs = 0;
  return { store: new StoreGuard({ name: "Redis", timeoutMs, restMs: 1_000, nowMs: () => nowMs }), pass: (ms) => void (nowMs += ms) };
}

const down = (): Promise<never> => Promise.reject(new UnavailableError("refused", { code: "REDIS_UNAVAILABLE" }));

test("after a failure the store is left alone for its rest, then asked again", async () => {
  const { store, pass } = guard();
  let asked = 0;
  const ask = (): Promise<number> => Promise.resolve(++asked);
  expect(await store.ask(down)).toMatchObject({ ok: false, note: "Redis is down: refused" });
  expect(await store.ask(ask)).toMatchObject({ ok: false, note: "Redis is down: refused" });
  expect(asked).toBe(0);
  pass(1_000);
  expect(await store.ask(ask)).toEqual({ ok: true, found: 1 });
});

test("a store that does not answer is down after its time", async () => {
  const { store } = guard(5);
  expect(await store.ask(() => new Promise(() => undefined))).toMatchObject({ ok: false, error: { code: "READ_TIMEOUT" } });
});

test("a question that the store refuses is no outage: it is thrown, and the next is asked", async () => {
  const { store } = guard();
  const refused = new OperatingError("no such table", { code: "CLICKHOUSE_REFUSED" });
  await expect(store.ask(() => Promise.reject(refused))).rejects.toBe(refused);
  expect(await store.ask(() => Promise.resolve(1))).toEqual({ ok: true, found: 1 });
});
