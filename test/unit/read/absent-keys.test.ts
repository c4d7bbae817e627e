import { expect, test } from "vitest";
import { AbsentKeys } from "#shared/read/absent-keys.ts";

function keys(limit = 3): { absent: AbsentKeys; pass: (ms: number) => void } {
  let nowMs = 0;
  return { absent: new AbsentKeys({ limit, lifeMs: 1_000, nowMs: () => nowMs }), pass: (ms) => void (nowMs += ms) };
}

const nothing = (): Promise<null> => Promise.resolve(null);
const isNull = (found: unknown): boolean => found === null;

test("what was not found is absent for its life, and then it is not", async () => {
  const { absent, pass } = keys();
  await absent.seek("a", nothing, isNull);
  pass(999);
  expect(absent.has("a")).toBe(true);
  pass(1);
  expect(absent.has("a")).toBe(false);
});

test("what was found is not absent", async () => {
  const { absent } = keys();
  expect(await absent.seek("a", () => Promise.resolve(7), isNull)).toBe(7);
  expect(absent.has("a")).toBe(false);
});

test("what comes into being is forgotten, also while it is still being looked for", async () => {
  const { absent } = keys();
  await absent.seek("a", nothing, isNull);
  absent.came("a");
  expect(absent.has("a")).toBe(false);
  const { promise, resolve } = Promise.withResolvers<null>();
  const sought = absent.seek("b", () => promise, isNull);
  absent.came("b");
  resolve(null);
  await sought;
  expect(absent.has("b")).toBe(false);
});

test("where messages may have been missed nothing counts as absent, not even what is being looked for", async () => {
  const { absent } = keys();
  await absent.seek("a", nothing, isNull);
  const { promise, resolve } = Promise.withResolvers<null>();
  const sought = absent.seek("b", () => promise, isNull);
  absent.clear();
  resolve(null);
  await sought;
  expect([absent.has("a"), absent.has("b")]).toEqual([false, false]);
});

test("there is room for so many: the oldest goes first", async () => {
  const { absent } = keys(3);
  for (const key of ["a", "b", "c", "d"]) await absent.seek(key, nothing, isNull);
  expect(["a", "b", "c", "d"].map((key) => absent.has(key))).toEqual([false, true, true, true]);
});

test("a look-up that fails leaves nothing behind", async () => {
  const { absent } = keys();
  await expect(absent.seek("a", () => Promise.reject(new Error("down")), isNull)).rejects.toThrow("down");
  expect(absent.has("a")).toBe(false);
});
