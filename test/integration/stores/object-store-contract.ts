/** What every object store promises, whatever it is made of. */
import { expect, test } from "vitest";
import type { ObjectContent, ObjectStore } from "#shared/clients/objects/object-store.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function contentOf(store: ObjectStore, key: string): Promise<ObjectContent> {
  const content = await store.read(key);
  if (content === null || content === "unchanged") throw new Error(`${key} reads as ${String(content)}`);
  return content;
}

const textOf = async (store: ObjectStore, key: string): Promise<string> => Buffer.from((await contentOf(store, key)).bytes).toString();

/** `races`: whether the comparison and the replacement of a pointer are one step. */
export function objectStoreContract(open: () => Promise<ObjectStore>, { races }: { readonly races: boolean }): void {
  test("an object reads back as it was written; one that was never written is null", async () => {
    const store = await open();
    expect(await store.read("rules/1.json")).toBeNull();
    expect(await store.createOnce("rules/1.json", bytes("é{}"))).toBe("created");
    expect(await textOf(store, "rules/1.json")).toBe("é{}");
  });

  test("of 12 writers of one key one wins, the others are told, and its content stays", async () => {
    const store = await open();
    const outcomes = await Promise.all(
      Array.from({ length: 12 }, (_, i) => store.createOnce("rules/1.json", bytes(`writer ${i} `.repeat(500)))),
    );
    expect(outcomes.filter((outcome) => outcome === "created")).toHaveLength(1);
    expect(await textOf(store, "rules/1.json")).toBe(`writer ${outcomes.indexOf("created")} `.repeat(500));
  });

  test("a reader that knows the content is told that it is unchanged, and gets it when it is not", async () => {
    const store = await open();
    await store.replace("rules/current.json", bytes("one"), null);
    const { etag } = await contentOf(store, "rules/current.json");
    expect(await store.read("rules/current.json", { knownEtag: etag })).toBe("unchanged");
    expect(await store.replace("rules/current.json", bytes("two"), etag)).toBe("replaced");
    expect(await store.read("rules/current.json", { knownEtag: etag })).toMatchObject({ bytes: expect.anything() });
    expect(await textOf(store, "rules/current.json")).toBe("two");
  });

  test("a pointer is replaced only by who has seen its latest content", async () => {
    const store = await open();
    expect(await store.replace("rules/current.json", bytes("one"), null)).toBe("replaced");
    const { etag } = await contentOf(store, "rules/current.json");
    expect(await store.replace("rules/current.json", bytes("other"), null)).toBe("conflict");
    expect(await store.replace("rules/current.json", bytes("two"), etag)).toBe("replaced");
    expect(await store.replace("rules/current.json", bytes("three"), etag)).toBe("conflict");
    expect(await store.replace("rules/none.json", bytes("x"), etag)).toBe("conflict");
    expect(await textOf(store, "rules/current.json")).toBe("two");
  });

  if (races) {
    test("of 12 who replace the same content one wins", async () => {
      const store = await open();
      await store.replace("rules/current.json", bytes("start"), null);
      const { etag } = await contentOf(store, "rules/current.json");
      const outcomes = await Promise.all(
        Array.from({ length: 12 }, (_, i) => store.replace("rules/current.json", bytes(`writer ${i}`), etag)),
      );
      expect(outcomes.filter((outcome) => outcome === "replaced")).toHaveLength(1);
      expect(await textOf(store, "rules/current.json")).toBe(`writer ${outcomes.indexOf("replaced")}`);
    });
  }

  test("a list holds the keys of its prefix only, in their order", async () => {
    const store = await open();
    for (const key of ["rules/2.json", "rules/10.json", "other/1.json"]) await store.createOnce(key, bytes("x"));
    const objects = await store.list("rules/");
    expect(objects.map(({ key }) => key)).toEqual(["rules/10.json", "rules/2.json"]);
    for (const { createdAtMs } of objects) expect(Math.abs(createdAtMs - Date.now())).toBeLessThan(60_000);
    expect(await store.list("nothing/")).toEqual([]);
  });
}
