import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openFolderStore } from "#processor/checkpoint/folder-store.ts";
import { snapshotStoreContract } from "./snapshot-store-contract.ts";

const PREFIX = "snapshots/test-1/0/";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "weir-store-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe("a folder as snapshot store", () => {
  snapshotStoreContract(() => Promise.resolve(openFolderStore(folder, Date.now)));

  test("what a killed writer left is no object, and goes after an hour", async () => {
    const store = openFolderStore(folder, Date.now);
    await store.createOnce(`${PREFIX}${"0".repeat(20)}-${"a".repeat(64)}.snap`, [new Uint8Array(3)]);
    const [young, old] = [".tmp-young", ".tmp-old"].map((name) => join(folder, PREFIX, name));
    await writeFile(young!, "half");
    await writeFile(old!, "half");
    const before = Date.now() / 1_000 - 2 * 3_600;
    await utimes(old!, before, before);
    expect(await store.list(PREFIX)).toHaveLength(1);
    expect((await readdir(join(folder, PREFIX))).toSorted()).toEqual([".tmp-young", `${"0".repeat(20)}-${"a".repeat(64)}.snap`]);
  });
});
