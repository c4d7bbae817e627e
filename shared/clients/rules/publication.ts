/**
 * From a committed release to where the pipeline reads it: the immutable object, then the pointer, then one control record in each partition of
 * events.valid. Every step looks first whether it was done, so a publication that died anywhere is finished by the next one, whoever starts it.
 *
 * I1  The pointer names only objects that were read back with the hash that it says.
 * I2  The pointer never goes back to an older version.
 * I3  A control record of a version is appended only after the pointer names that version or a newer one.
 */
import type { PipelineId } from "../../events/names.ts";
import { CorruptStateError, OperatingError } from "../../kernel/errors.ts";
import { failpoint } from "../../kernel/failpoint.ts";
import {
  CURRENT_KEY,
  parsePointerObject,
  type PointerEntry,
  releaseKey,
  type ReleasePointer,
  sha256Of,
  upcoming,
} from "../../rules/load-release.ts";
import { announce, type Announced, unfinished, type WithKafka } from "../announcement.ts";
import type { ObjectStore } from "../objects/object-store.ts";
import type { Database } from "../postgres/database.ts";
import { newestRelease, type StoredRelease, takeLock } from "../postgres/rules-store.ts";

const FINISH = "weir rules publish";
/** Any number, the same everywhere: publishers take turns. */
const LOCK = 7_236_102;
/** One that waits for a broker that is away holds it for a while. */
const LOCK_LIMIT_MS = 20_000;
const POINTER_TRIES = 5;
/** From the publication to where the release is in force: all validators have looked by then (functions/validator/rules-source.ts). */
const SETTLE_MS = 3_000;

export interface PublicationPorts {
  readonly database: Database;
  readonly objects: ObjectStore;
  /** Absent: only the objects are written. */
  readonly withKafka?: WithKafka | undefined;
  readonly id: PipelineId;
  readonly actor: string;
}

export interface Publication {
  readonly version: number;
  /** By this call; false = it was so already. */
  readonly pointerMoved: boolean;
  /** Epoch milliseconds from which on it is in force. */
  readonly fromMs: number;
  /** Of control records appended by this call. */
  readonly appended: readonly Announced[];
  /** A newer version than PostgreSQL knows is published, after a restore from a backup; it stays. null = no. */
  readonly newerThanKnown: number | null;
}

/** Publishes the newest committed release. null = there is none. @throws OperatingError naming the step that is missing. */
export async function publishNewest(ports: PublicationPorts): Promise<Publication | null> {
  const { database, objects, actor, withKafka } = ports;
  let failure: unknown;
  const publication = await database.transaction(actor, async (session): Promise<Publication | null> => {
    await takeLock(session, {
      sql: `SELECT pg_advisory_xact_lock(${LOCK})`,
      limitMs: LOCK_LIMIT_MS,
      holder: "another publication is under way and has been",
    });
    const release = await newestRelease(session);
    if (release === null) return null;
    const { version } = release;
    const appended: Announced[] = [];
    const published = await publishedVersion(objects);
    if (published > version) return { version, pointerMoved: false, fromMs: 0, appended, newerThanKnown: published };
    const { moved, fromMs } = await writeObjects(objects, release).catch((thrown: unknown) => {
      throw unfinished(FINISH, `version ${version} is committed, but not published`, thrown);
    });
    // What was appended is recorded even when the next partition fails.
    const announcement = {
      id: ports.id,
      table: "rules_switches",
      control: { kind: "rules", version },
      failpoint: "rules-control-appended",
    } as const;
    await withKafka?.((kafka) => announce(kafka, session, announcement, appended)).catch((thrown: unknown) => (failure = thrown));
    return { version, pointerMoved: moved, fromMs, appended, newerThanKnown: null };
  });
  if (failure !== undefined)
    throw unfinished(FINISH, `version ${publication!.version} is published, but not announced in every partition`, failure);
  return publication;
}

/** 0 = none, or none that can be read: then the next publication replaces the pointer. */
export async function publishedVersion(objects: ObjectStore): Promise<number> {
  const content = await objects.read(CURRENT_KEY);
  return content === null || content === "unchanged" ? 0 : (pointerIn(content.bytes)?.version ?? 0);
}

interface Pointed {
  /** By this call. */
  readonly moved: boolean;
  readonly fromMs: number;
}

async function writeObjects(objects: ObjectStore, release: StoredRelease): Promise<Pointed> {
  await writeObject(objects, release);
  failpoint("rules-object-written");
  const pointed = await movePointer(objects, release);
  failpoint("rules-pointer-written");
  return pointed;
}

async function writeObject(objects: ObjectStore, { version, content, sha256 }: StoredRelease): Promise<void> {
  const key = releaseKey(version);
  const outcome = await objects.createOnce(key, Buffer.from(content));
  const written = await objects.read(key);
  if (written !== null && written !== "unchanged" && sha256Of(written.bytes) === sha256) return;
  throw new CorruptStateError(
    `${objects.address} ${key} ${outcome === "exists" ? "exists with other content" : "does not read back as it was written"}`,
    {
      code: "RULES_UNWRITABLE",
      hint: "if the metadata was made anew, move the old releases away; weir rules apply makes the next version",
    },
  );
}

async function movePointer(objects: ObjectStore, { version, sha256 }: StoredRelease): Promise<Pointed> {
  for (let attempt = 1; attempt <= POINTER_TRIES; attempt++) {
    const content = await objects.read(CURRENT_KEY);
    if (content === "unchanged") continue;
    const current = content === null ? null : pointerIn(content.bytes);
    if (current !== null && (current.version > version || (current.version === version && current.sha256 === sha256)))
      return { moved: false, fromMs: current.fromMs };
    const next = nextPointer(current, { version, file: `${version}.json`, sha256 }, Date.now());
    if ((await objects.replace(CURRENT_KEY, Buffer.from(JSON.stringify(next)), content?.etag ?? null)) === "replaced")
      return { moved: true, fromMs: next.fromMs };
  }
  throw new OperatingError(`${objects.address} ${CURRENT_KEY} is changed by somebody else all the time`, {
    code: "RULES_UNWRITABLE",
    hint: "see who else writes there; publishers of one database take turns",
  });
}

/** Comes into force when every validator can have seen it; what was to come before it still does. Pure. */
export function nextPointer(current: ReleasePointer | null, release: Omit<PointerEntry, "fromMs">, nowMs: number): ReleasePointer {
  const earlier = current === null ? [] : upcoming(current, nowMs);
  // Where nothing is in force there is nothing to change over from.
  return { ...release, fromMs: earlier.length === 0 ? 0 : nowMs + SETTLE_MS, earlier };
}

/** null where it is damaged: then it is replaced. */
function pointerIn(bytes: Uint8Array): ReleasePointer | null {
  try {
    return parsePointerObject(bytes, CURRENT_KEY);
  } catch {
    return null;
  }
}
