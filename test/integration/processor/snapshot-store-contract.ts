/** What every snapshot store promises, whatever it is made of. */
import { expect, test } from "vitest";
import type { SnapshotStore } from "#processor/checkpoint/snapshot-store.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const key = (offset: number): string => `snapshots/test-1/0/${String(offset).padStart(20, "0")}-${"a".repeat(64)}.snap`;

export function snapshotStoreContract(open: () => Promise<SnapshotStore>): void {
  test("an object reads back whole, in the order of its parts", async () => {
    const store = await open();
    expect(await store.createOnce(key(1), [bytes("one "), bytes(""), bytes("two")])).toBe("created");
    expect(Buffer.from((await store.read(key(1)))!).toString()).toBe("one two");
  });

  test("what was never written reads as null and lists as nothing", async () => {
    const store = await open();
    expect(await store.read(key(1))).toBeNull();
    expect(await store.list("snapshots/test-1/0/")).toEqual([]);
  });

  test("the first writer of a key wins and every other is told", async () => {
    const store = await open();
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.createOnce(key(1), [bytes(`writer ${i} `.repeat(1_000))])),
    );
    expect(outcomes.filter((outcome) => outcome === "created")).toHaveLength(1);
    const winner = Buffer.from((await store.read(key(1)))!).toString();
    expect(winner).toBe(`writer ${outcomes.indexOf("created")} `.repeat(1_000));
  });

  test("a list holds whole objects of its prefix only, in order of their keys", async () => {
    const store = await open();
    for (const offset of [30, 4, 200]) await store.createOnce(key(offset), [bytes("x")]);
    await store.createOnce(key(5).replace("/0/", "/1/"), [bytes("x")]);
    const objects = await store.list("snapshots/test-1/0/");
    expect(objects.map((object) => object.key)).toEqual([key(4), key(30), key(200)]);
    for (const { createdAtMs } of objects) expect(Math.abs(createdAtMs - Date.now())).toBeLessThan(60_000);
  });

  test("a removed object is gone, and removing it again is well", async () => {
    const store = await open();
    await store.createOnce(key(1), [bytes("x")]);
    await store.remove(key(1));
    await store.remove(key(1));
    expect(await store.read(key(1))).toBeNull();
    expect(await store.createOnce(key(1), [bytes("y")])).toBe("created");
  });
}
