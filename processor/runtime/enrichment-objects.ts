/** Loads the table that an enrichment record names. The fold waits for it: going on without would be another result. */
import { createHash } from "node:crypto";
import { enrichmentKey } from "#shared/events/enrichment-table.ts";
import { CorruptStateError, TransientError } from "#shared/kernel/errors.ts";
import type { EnrichmentName, InputRecord, PartitionFold } from "../model/ports.ts";

/** null: there is no such object. */
export type ReadObject = (key: string) => Promise<Uint8Array | null>;

/** @throws TransientError while it is not there, CorruptStateError when it is another. */
async function loadEnrichment(name: EnrichmentName, read: ReadObject): Promise<Uint8Array> {
  const key = enrichmentKey(name);
  const bytes = await read(key);
  if (bytes === null) {
    throw new TransientError(`enrichment table ${name.version} is not there: ${key}`, {
      code: "ENRICHMENT_MISSING",
      hint: "weir enrichment publish puts it back beside the rules releases; the partition waits for it",
    });
  }
  if (createHash("sha256").update(bytes).digest("hex") !== name.sha256) {
    throw new CorruptStateError(`enrichment table ${name.version} is not the one that the log names: ${key}`, {
      code: "ENRICHMENT_INVALID",
      hint: "put the object that the record names back beside the rules releases",
    });
  }
  return bytes;
}

/** null: the fold needs nothing with this record, as with nearly every one. */
export function neededWith(
  record: InputRecord,
  fold: PartitionFold,
  read: ReadObject = () => Promise.resolve(null),
): Promise<Uint8Array> | null {
  const name = fold.enrichmentNamedBy?.(record) ?? null;
  return name === null ? null : loadEnrichment(name, read);
}
