import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { findChain, markRunning, readCatalog, removeBackup, sweepUnfinished } from "#backup/catalog.ts";
import { openFolderLocation } from "#backup/folder-location.ts";
import type { BackupLocation } from "#backup/location.ts";
import { tableLimits } from "#backup/log-positions.ts";
import { backupName, type Manifest, parseManifest } from "#backup/manifest.ts";
import { CHUNK_BYTES, PartWriter, readPart, writeFiles } from "#backup/parts.ts";
import { verifyBackup } from "#backup/verify.ts";

const NAME = backupName(Date.UTC(2026, 10, 24), "full");
let folder: string;
let location: BackupLocation;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-parts-"));
  location = openFolderLocation(join(folder, "store"));
  return () => rmSync(folder, { recursive: true, force: true });
});

function manifestOf(name: string, writer: PartWriter, base: string | null = null): Manifest {
  return {
    v: 1,
    name,
    kind: base === null ? "full" : "incremental",
    base,
    startedAt: new Date(0).toISOString(),
    finishedAt: new Date(0).toISOString(),
    lanes: [],
    positions: [],
    clickhouse: { database: "weir", version: "", tables: [], unsettled: [], sinceMs: 0, events: [] },
    postgres: { migrations: [], tables: [] },
    parts: writer.parts,
    bytesWritten: writer.bytesWritten,
  };
}

async function store(manifest: Manifest): Promise<void> {
  await location.createOnce(`${manifest.name}/manifest.json`, Buffer.from(JSON.stringify(manifest)));
}

describe("parts", () => {
  test("a folder comes back byte for byte, files larger than a chunk and empty ones included", async () => {
    const source = join(folder, "source");
    mkdirSync(join(source, "a/b"), { recursive: true });
    const large = Buffer.alloc(CHUNK_BYTES + 12_345, "weir");
    writeFileSync(join(source, "a/large.bin"), large);
    writeFileSync(join(source, "a/b/empty"), "");
    writeFileSync(join(source, ".backup"), "<config/>");
    const writer = new PartWriter(location, NAME);
    await writer.addFolder("clickhouse/", source);
    expect(writer.parts.map(({ file, at, bytes }) => [file, at, bytes])).toEqual([
      ["clickhouse/.backup", 0, 9],
      ["clickhouse/a/b/empty", 0, 0],
      ["clickhouse/a/large.bin", 0, CHUNK_BYTES],
      ["clickhouse/a/large.bin", CHUNK_BYTES, 12_345],
    ]);
    const target = join(folder, "target");
    await writeFiles(location, writer.parts, "clickhouse/", target);
    expect(readFileSync(join(target, "a/large.bin")).equals(large)).toBe(true);
    expect(readFileSync(join(target, "a/b/empty"))).toHaveLength(0);
    expect(readFileSync(join(target, ".backup"), "utf8")).toBe("<config/>");
  });

  test("what an earlier backup holds is named, not written again", async () => {
    const first = new PartWriter(location, NAME);
    await first.add("objects/a", Buffer.from("same"));
    await first.add("objects/b", Buffer.from("old"));
    const second = new PartWriter(location, "20261125T000000000Z-incremental", first.parts);
    await second.add("objects/a", Buffer.from("same"));
    await second.add("objects/b", Buffer.from("new"));
    expect(second.bytesWritten).toBe(3);
    expect(second.parts.map(({ key }) => key)).toEqual([`${NAME}/objects/a`, "20261125T000000000Z-incremental/objects/b"]);
    expect(Buffer.from(await readPart(location, second.parts[0]!)).toString()).toBe("same");
  });

  test("one bit turned over, a byte too many, a part that is gone: each is named, and none is restored", async () => {
    const writer = new PartWriter(location, NAME);
    for (const file of ["x", "y", "z", "good"]) await writer.add(file, Buffer.from(`content of ${file}`));
    const manifest = manifestOf(NAME, writer);
    await store(manifest);
    const path = (file: string): string => join(folder, "store", NAME, file);
    const bytes = readFileSync(path("x"));
    bytes[3] = bytes[3]! ^ 0x10;
    writeFileSync(path("x"), bytes);
    writeFileSync(path("y"), "content of y!");
    rmSync(path("z"));
    writeFileSync(path("stray"), "?");
    const { problems, strays, parts } = await verifyBackup(location, [manifest]);
    expect(parts).toBe(4);
    expect(problems).toEqual([
      expect.stringMatching(/x has SHA-256 \w{12}…, not \w{12}…$/),
      `${NAME}/y has 13 bytes, not 12`,
      `${NAME}/z is missing`,
    ]);
    expect(strays).toEqual([`${NAME}/stray`]);
    for (const part of manifest.parts.slice(0, 3)) await expect(readPart(location, part)).rejects.toMatchObject({ code: "BACKUP_DAMAGED" });
  });

  test("a manifest cannot lead out of the folders", async () => {
    const writer = new PartWriter(location, NAME);
    await writer.add("clickhouse/x", Buffer.from("x"));
    const bad = { ...writer.parts[0]!, file: "clickhouse/../../etc/passwd" };
    await expect(writeFiles(location, [bad], "clickhouse/", join(folder, "target"))).rejects.toMatchObject({ code: "BACKUP_DAMAGED" });
    await expect(readPart(location, { ...bad, key: "../../etc/passwd" })).rejects.toMatchObject({ code: "OBJECT_KEY" });
  });
});

describe("the catalog", () => {
  test("a backup without its manifest does not exist", async () => {
    await markRunning(location, NAME);
    await location.createOnce(`${NAME}/clickhouse/.backup`, Buffer.from("x"));
    const catalog = await readCatalog(location);
    expect(catalog).toMatchObject({ backups: [], unfinished: [NAME] });
    expect(() => findChain(catalog, location)).toThrow(/there is no backup/);
  });

  test("what this live process makes is not swept, what a dead one left is", async () => {
    await markRunning(location, NAME);
    await expect(sweepUnfinished(location, [NAME], Date.now())).rejects.toMatchObject({ code: "BACKUP_RUNNING" });
    // The same number, another process: it began at another time.
    const file = join(folder, "store", NAME, "running.json");
    const runner = JSON.parse(readFileSync(file, "utf8")) as { started: string };
    writeFileSync(file, JSON.stringify({ ...runner, started: "1" }));
    expect(await sweepUnfinished(location, [NAME], Date.now())).toEqual([NAME]);
    expect(readdirSync(join(folder, "store"))).toEqual([]);
  });

  test("of another machine an attempt counts as dead after a day", async () => {
    const fresh = backupName(Date.now(), "full");
    for (const name of [NAME, fresh])
      await location.createOnce(`${name}/running.json`, Buffer.from('{"host":"elsewhere","pid":1,"started":"1"}'));
    await expect(sweepUnfinished(location, [fresh], Date.now())).rejects.toMatchObject({ code: "BACKUP_RUNNING" });
    expect(await sweepUnfinished(location, [NAME], Date.UTC(2026, 10, 26))).toEqual([NAME]);
  });

  test("removing takes the manifest first, so that half a backup never looks like one", async () => {
    const order: string[] = [];
    const watched: BackupLocation = {
      ...location,
      remove: async (key) => {
        order.push(key);
        await location.remove(key);
      },
    };
    const writer = new PartWriter(location, NAME);
    await writer.add("a", Buffer.from("a"));
    await store(manifestOf(NAME, writer));
    await removeBackup(watched, NAME);
    expect(order[0]).toBe(`${NAME}/manifest.json`);
    expect(await location.list("")).toEqual([]);
  });

  test("a manifest that was cut off or has a strange field is damaged, not believed", () => {
    const text = JSON.stringify(manifestOf(NAME, new PartWriter(location, NAME)));
    expect(parseManifest(Buffer.from(text), "x").name).toBe(NAME);
    for (const bad of [text.slice(0, -1), text.replace('"v":1', '"v":2'), text.replace('"lanes"', '"lines"'), ""]) {
      expect(() => parseManifest(Buffer.from(bad), "x")).toThrow(/no manifest/);
    }
  });
});

test("a table's limit is the sink's last durable row; a sink that had committed nothing has none, and a log that is gone sets no limit", () => {
  const at = { group: "weir-sink-clickhouse-live-1", topic: "events.clean", offset: 5 };
  const lanes = [
    { lane: "live", generation: 1, partitions: 2 },
    { lane: "gone", generation: 1, partitions: 0 },
  ];
  expect(tableLimits(lanes, [{ ...at, partition: 1, metadata: '{"oseq":41}' }])).toEqual([
    { lane: "live", generation: 1, partition: 0, oseq: 0 },
    { lane: "live", generation: 1, partition: 1, oseq: 41 },
  ]);
});
