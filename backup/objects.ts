/** Snapshots, rules releases and enrichment tables. All are objects that never change, and a snapshot is only a cache of the log: merging them into a store harms nobody. */
import { openSnapshotStore } from "#processor/checkpoint/open-store.ts";
import { snapshotPrefix } from "#processor/checkpoint/snapshot-key.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import type { Config } from "#shared/config/config.ts";
import { ENRICHMENT_PREFIX } from "#shared/events/enrichment-table.ts";
import { CURRENT_KEY } from "#shared/rules/load-release.ts";
import type { BackupLocation } from "./location.ts";
import type { LaneId, Part } from "./manifest.ts";
import { CHUNK_BYTES, type PartWriter, readPart } from "./parts.ts";

const SNAPSHOTS = "objects/snapshots/";
const RULES = "objects/rules/";
const RULES_PREFIX = CURRENT_KEY.slice(0, CURRENT_KEY.lastIndexOf("/") + 1);

type ObjectsConfig = Pick<Config, "dataDir" | "snapshotUrl" | "rulesUrl">;

export async function backUpObjects(config: ObjectsConfig, lanes: readonly LaneId[], writer: PartWriter): Promise<void> {
  const snapshots = openSnapshotStore(config, Date.now);
  for (const id of lanes) {
    for (let partition = 0; partition < id.partitions; partition++) {
      for (const { key } of await snapshots.list(snapshotPrefix(id, partition))) {
        const bytes = await snapshots.read(key);
        // Retention of the processor took it meanwhile: a newer one was listed as well.
        if (bytes !== null) await addInPieces(writer, `${SNAPSHOTS}${key}`, bytes);
      }
    }
  }
  const rules = await openRulesObjects(config);
  // A replay needs every table that the log names.
  const listed = [...(await rules.list(RULES_PREFIX)), ...(await rules.list(ENRICHMENT_PREFIX))];
  const keys = listed.map(({ key }) => key);
  // The pointer is read first: what it names was there before it.
  for (const key of [CURRENT_KEY, ...keys.filter((each) => each !== CURRENT_KEY)]) {
    const content = await rules.read(key);
    if (content !== null && content !== "unchanged") await writer.add(`${RULES}${key}`, content.bytes);
  }
}

async function addInPieces(writer: PartWriter, file: string, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at === 0 || at < bytes.length; at += CHUNK_BYTES) await writer.add(file, bytes.subarray(at, at + CHUNK_BYTES), at);
}

/** Returns how many were lacking. */
export async function restoreObjects(config: ObjectsConfig, parts: readonly Part[], location: BackupLocation): Promise<number> {
  const snapshots = openSnapshotStore(config, Date.now);
  const rules = await openRulesObjects(config);
  let created = 0;
  const files = Map.groupBy(parts, ({ file }) => file);
  for (const [file, pieces] of files) {
    const isSnapshot = file.startsWith(SNAPSHOTS);
    if (!isSnapshot && !file.startsWith(RULES)) continue;
    const bytes: Uint8Array[] = [];
    for (const piece of pieces.toSorted((a, b) => a.at - b.at)) bytes.push(await readPart(location, piece));
    if (isSnapshot) {
      if ((await snapshots.createOnce(file.slice(SNAPSHOTS.length), bytes)) === "created") created++;
      continue;
    }
    const key = file.slice(RULES.length);
    // A pointer that is there is as new or newer: versions only rise.
    if (key === CURRENT_KEY) continue;
    if ((await rules.createOnce(key, Buffer.concat(bytes))) === "created") created++;
  }
  // Last: it names only what is there.
  const pointer = files.get(`${RULES}${CURRENT_KEY}`)?.[0];
  if (pointer !== undefined && (await rules.createOnce(CURRENT_KEY, await readPart(location, pointer))) === "created") created++;
  return created;
}
