import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openFolderLocation } from "#backup/folder-location.ts";
import { backUpObjects, restoreObjects } from "#backup/objects.ts";
import { PartWriter } from "#backup/parts.ts";
import { openFolderObjects } from "#shared/clients/objects/folder-objects.ts";
import { enrichmentKey } from "#shared/events/enrichment-table.ts";
import { CURRENT_KEY, releaseKey } from "#shared/rules/load-release.ts";

let folder: string;

beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "weir-backup-objects-"))));
afterEach(() => rmSync(folder, { recursive: true }));

test("rules, their pointer and every enrichment table come back from a backup, and what is there already stays", async () => {
  const config = (name: string) => ({ dataDir: join(folder, name), snapshotUrl: "", rulesUrl: "" });
  const before = openFolderObjects(join(folder, "before"));
  const tables = [1, 2].map((version) => enrichmentKey({ version, sha256: String(version).repeat(64) }));
  const keys = [CURRENT_KEY, releaseKey(1), ...tables];
  for (const key of keys) await before.createOnce(key, Buffer.from(`content of ${key}`));
  const location = openFolderLocation(join(folder, "backups"));
  const writer = new PartWriter(location, "full");
  await backUpObjects(config("before"), [], writer);

  const after = openFolderObjects(join(folder, "after"));
  await after.createOnce(CURRENT_KEY, Buffer.from("newer"));
  expect(await restoreObjects(config("after"), writer.parts, location)).toBe(3);
  for (const key of keys) {
    const content = await after.read(key);
    if (content === null || content === "unchanged") throw new Error(`${key} is not there`);
    expect(Buffer.from(content.bytes).toString()).toBe(key === CURRENT_KEY ? "newer" : `content of ${key}`);
  }
  expect(await restoreObjects(config("after"), writer.parts, location)).toBe(0);
});
