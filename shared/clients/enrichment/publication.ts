/**
 * From a committed version of the enrichment table to where the pipeline reads it: the immutable object, then one control record in each partition
 * of events.valid. Every step looks first whether it was done, so a publication that died anywhere is finished by the next one, whoever starts it.
 *
 * I1  A control record names only an object that was read back with the hash that it says: the fold waits for one that is not there.
 * I2  No partition is told of an older version after a newer one.
 * I3  Every version that PostgreSQL knows has its object afterwards: a replay needs the older ones too.
 */
import { enrichmentKey, enrichmentVersionOf, ENRICHMENT_PREFIX } from "../../events/enrichment-table.ts";
import type { PipelineId } from "../../events/names.ts";
import { CorruptStateError } from "../../kernel/errors.ts";
import { failpoint } from "../../kernel/failpoint.ts";
import { sha256Of } from "../../rules/load-release.ts";
import { announce, type Announced, unfinished, type WithKafka } from "../announcement.ts";
import type { ObjectStore } from "../objects/object-store.ts";
import type { Database, Session } from "../postgres/database.ts";
import { type EnrichmentFacts, enrichmentOf, listEnrichments, lockEnrichments } from "../postgres/enrichment-store.ts";

const FINISH = "weir enrichment publish";

export interface EnrichmentPorts {
  readonly database: Database;
  readonly objects: ObjectStore;
  readonly withKafka: WithKafka;
  readonly id: PipelineId;
  readonly actor: string;
}

export interface EnrichmentPublication {
  readonly version: number;
  /** Versions whose objects this call wrote. */
  readonly written: readonly number[];
  /** Control records that this call appended. */
  readonly appended: readonly Announced[];
  /** A newer version than PostgreSQL knows is published, after a restore from a backup; it stays. null = no. */
  readonly newerThanKnown: number | null;
}

/** Publishes the newest committed version. null = there is none. @throws OperatingError naming the step that is missing. */
export async function publishNewestEnrichment(ports: EnrichmentPorts): Promise<EnrichmentPublication | null> {
  const { database, objects, actor, withKafka, id } = ports;
  let failure: unknown;
  const publication = await database.transaction(actor, async (session): Promise<EnrichmentPublication | null> => {
    await lockEnrichments(session);
    const known = await listEnrichments(session, null);
    const newest = known[0];
    if (newest === undefined) return null;
    const { version, sha256 } = newest;
    const appended: Announced[] = [];
    const written: number[] = [];
    await writeObjects(session, objects, known, written).catch((thrown: unknown) => {
      throw unfinished(FINISH, `enrichment version ${version} is committed, but not published`, thrown);
    });
    const published = await newestPublished(objects);
    if (published > version) return { version, written, appended, newerThanKnown: published };
    const announcement = {
      id,
      table: "enrichment_switches",
      control: { kind: "enrichment", version, sha256 },
      failpoint: "enrichment-control-appended",
    } as const;
    // What was appended is recorded even when the next partition fails.
    await withKafka((kafka) => announce(kafka, session, announcement, appended)).catch((thrown: unknown) => (failure = thrown));
    return { version, written, appended, newerThanKnown: null };
  });
  if (failure !== undefined)
    throw unfinished(FINISH, `enrichment version ${publication!.version} is published, but not announced in every partition`, failure);
  return publication;
}

/** 0 = none. */
export async function newestPublished(objects: ObjectStore): Promise<number> {
  const keys = await objects.list(ENRICHMENT_PREFIX);
  return Math.max(0, ...keys.map(({ key }) => enrichmentVersionOf(key) ?? 0));
}

async function writeObjects(session: Session, objects: ObjectStore, known: readonly EnrichmentFacts[], written: number[]): Promise<void> {
  const there = new Set((await objects.list(ENRICHMENT_PREFIX)).map(({ key }) => key));
  for (const [i, facts] of known.entries()) {
    const key = enrichmentKey(facts);
    // The newest is about to be named: it is read back in any case.
    if (i > 0 && there.has(key)) continue;
    if (!there.has(key)) {
      const { content } = await enrichmentOf(session, facts.version);
      if ((await objects.createOnce(key, Buffer.from(content))) === "created") written.push(facts.version);
    }
    const stored = await objects.read(key);
    if (stored === null || stored === "unchanged" || sha256Of(stored.bytes) !== facts.sha256) throw unreadable(objects.address, key);
    failpoint("enrichment-object-written");
  }
}

function unreadable(address: string, key: string): CorruptStateError {
  return new CorruptStateError(`${address} ${key} does not read back as it was written`, {
    code: "ENRICHMENT_INVALID",
    hint: "its name says the SHA-256 that it should have: move it away, then weir enrichment publish",
  });
}
