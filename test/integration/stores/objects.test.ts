import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openFolderObjects } from "#shared/clients/objects/folder-objects.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { hasS3Server, startS3Server, type S3Server } from "#test/support/s3-server.ts";
import { objectStoreContract } from "./object-store-contract.ts";

describe("a folder as object store", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "weir-objects-"));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  objectStoreContract(() => openRulesObjects({ rulesUrl: "", dataDir: folder }), { races: false });

  test("what a killed writer left is no object, and goes after an hour", async () => {
    const store = openFolderObjects(folder);
    await store.createOnce("rules/1.json", new Uint8Array(3));
    for (const name of [".tmp-young", ".tmp-old"]) writeFileSync(join(folder, "rules", name), "half");
    const before = Date.now() / 1_000 - 2 * 3_600;
    utimesSync(join(folder, "rules/.tmp-old"), before, before);
    expect(await store.list("rules/")).toHaveLength(1);
    expect(readdirSync(join(folder, "rules")).toSorted()).toEqual([".tmp-young", "1.json"]);
  });

  test("no key leads out of it", async () => {
    const store = openFolderObjects(join(folder, "inner"));
    await expect(store.read("../secret")).rejects.toMatchObject({ code: "OBJECT_KEY" });
    await expect(store.createOnce("rules/../../x", new Uint8Array(1))).rejects.toMatchObject({ code: "OBJECT_KEY" });
  });

  test("a folder that cannot be written to is an absent store, by name", async () => {
    writeFileSync(join(folder, "rules"), "a file where the folder should be");
    await expect(openFolderObjects(folder).createOnce("rules/1.json", new Uint8Array(1))).rejects.toMatchObject({
      name: "UnavailableError",
      code: "OBJECTS_UNAVAILABLE",
      message: expect.stringContaining(folder) as string,
    });
  });
});

describe.skipIf(!hasS3Server)("an S3 bucket as object store", () => {
  let server: S3Server;
  let bucket: string;

  beforeAll(async () => {
    server = await startS3Server();
    for (const [name, value] of Object.entries(server.environment)) vi.stubEnv(name, value);
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await server.stop();
  });

  beforeEach(async () => {
    bucket = uniqueLane();
    expect((await fetch(`${server.endpoint}/${bucket}`, { method: "PUT", body: locationOf("eu-central-1") })).status).toBe(200);
  });

  objectStoreContract(() => openRulesObjects({ rulesUrl: `s3://${bucket}/of/a/pipeline`, dataDir: "unused" }), { races: true });

  test("two prefixes of a bucket are two stores", async () => {
    const [one, other] = await Promise.all(
      ["one", "other/"].map((prefix) => openRulesObjects({ rulesUrl: `s3://${bucket}/${prefix}`, dataDir: "unused" })),
    );
    await one!.createOnce("rules/1.json", new Uint8Array(1));
    expect(await other!.read("rules/1.json")).toBeNull();
    expect(await other!.createOnce("rules/1.json", new Uint8Array(2))).toBe("created");
    expect((await one!.list("rules/")).map(({ key }) => key)).toEqual(["rules/1.json"]);
  });

  test("a bucket that is not there is an absent store, no empty one", async () => {
    const store = await openRulesObjects({ rulesUrl: "s3://no-such-bucket/x", dataDir: "unused" });
    const absent = {
      name: "UnavailableError",
      code: "OBJECTS_UNAVAILABLE",
      message: expect.stringContaining("s3://no-such-bucket/x/") as string,
    };
    await expect(store.read("rules/current.json")).rejects.toMatchObject(absent);
    await expect(store.createOnce("rules/1.json", new Uint8Array(1))).rejects.toMatchObject(absent);
    await expect(store.list("rules/")).rejects.toMatchObject(absent);
  });
});

function locationOf(region: string): string {
  return `<CreateBucketConfiguration><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
}
