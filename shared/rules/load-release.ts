/**
 * Releases as objects: `rules/<version>.json`, never changed once written, and `rules/current.json`, the pointer, which is replaced whole. Readers
 * need nothing else: no database stands between the pipeline and its rules.
 *
 * A release takes effect at a time that the pointer says, a little later than it is published: by then every validator has looked, so that all of
 * them change over together and no partition sees the old rules again after the new ones. Until then the `earlier` ones are in force.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { CorruptStateError, OperatingError, toError } from "../kernel/errors.ts";
import { parseRelease, type Release } from "./release.ts";

const SEED = new URL("seed-release.json", import.meta.url);
const PREFIX = "rules/";

/** The key of the pointer. */
export const CURRENT_KEY = `${PREFIX}current.json`;

const entry = z.strictObject({
  version: z.int().min(1),
  file: z.string().regex(/^[\w.-]+$/, "must be the name of a file beside it"),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Epoch milliseconds from which on it is in force. */
  fromMs: z.int().min(0).default(0),
});

/** `earlier`: what was in force when this was published, and what was to follow; ascending. */
const pointer = entry.extend({ earlier: z.array(entry).max(1_000).default([]) });

export type ReleasePointer = z.output<typeof pointer>;
export type PointerEntry = z.output<typeof entry>;

/** What a reader of releases needs of an object store (shared/clients/objects). */
export interface ReleaseObjects {
  readonly address: string;
  read(
    key: string,
    options?: { readonly knownEtag?: string | undefined; readonly signal?: AbortSignal },
  ): Promise<{ readonly bytes: Uint8Array; readonly etag: string } | "unchanged" | null>;
  list(prefix: string): Promise<readonly { readonly key: string }[]>;
}

export interface ScheduledRelease {
  readonly release: Release;
  readonly fromMs: number;
}

export interface LoadedRelease {
  /** The newest. */
  readonly release: Release;
  /** Ascending by time; the first is in force now, the last is `release`. */
  readonly schedule: readonly ScheduledRelease[];
  /** Why this is not what the pointer names; null = it is, or there is no pointer. */
  readonly fallback: string | null;
  /** False = the seed, since nothing was ever published. */
  readonly published: boolean;
}

export function releaseKey(version: number): string {
  return `${PREFIX}${version}.json`;
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** One file, checked. @throws OperatingError RULES_UNREADABLE, RULES_INVALID. */
export function loadRelease(path: string | URL): Release {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (thrown) {
    throw unreadable(String(path), thrown);
  }
  return parseRelease(parseJson(bytes, String(path)), String(path));
}

export function loadSeedRelease(): Release {
  return loadRelease(SEED);
}

/** @throws OperatingError RULES_UNREADABLE when the bytes are no pointer. */
export function parsePointerObject(bytes: Uint8Array, origin: string): ReleasePointer {
  const parsed = pointer.safeParse(parseJson(bytes, origin));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join(".") || "it"}: ${issue.message}`);
  throw new OperatingError(`${origin} must hold {version, file, sha256}; ${problems.join("; ")}`, { code: "RULES_UNREADABLE" });
}

/** What of a pointer still counts at `nowMs`: the entry in force, and those to come. */
export function upcoming({ earlier, ...newest }: ReleasePointer, nowMs: number): PointerEntry[] {
  const entries = [...earlier, newest];
  return entries.slice(
    Math.max(
      0,
      entries.findLastIndex(({ fromMs }) => fromMs <= nowMs),
    ),
  );
}

/** What a pointer names, hashes verified; `known` releases are not read again. @throws OperatingError RULES_UNREADABLE, RULES_INVALID. */
export async function loadSchedule(
  objects: ReleaseObjects,
  named: ReleasePointer,
  { nowMs, known = [], signal }: { readonly nowMs: number; readonly known?: readonly Release[]; readonly signal?: AbortSignal | undefined },
): Promise<ScheduledRelease[]> {
  return Promise.all(
    upcoming(named, nowMs).map(async (each) => ({
      release: known.find(({ version }) => version === each.version) ?? (await loadEntry(objects, each, signal)),
      fromMs: each.fromMs,
    })),
  );
}

async function loadEntry(objects: ReleaseObjects, named: PointerEntry, signal: AbortSignal | undefined): Promise<Release> {
  const key = PREFIX + named.file;
  const origin = `${objects.address} ${key}`;
  const content = await objects.read(key, signal === undefined ? {} : { signal });
  if (content === null || content === "unchanged") throw unreadable(origin, new Error("there is no such object"));
  const actual = sha256Of(content.bytes);
  if (actual !== named.sha256) {
    throw new CorruptStateError(`${origin} has sha256 ${actual.slice(0, 12)}…, current.json says ${named.sha256.slice(0, 12)}…`, {
      code: "RULES_UNREADABLE",
    });
  }
  const release = parseRelease(parseJson(content.bytes, origin), origin);
  if (release.version === named.version) return release;
  throw new CorruptStateError(`${origin} is version ${release.version}, current.json says ${named.version}`, { code: "RULES_UNREADABLE" });
}

/**
 * What is published; without anything the seed. If it is damaged or does not answer, the newest older one that is sound: a pipeline goes on with
 * old rules rather than stand still; `fallback` says so. Without `nowMs` only the newest counts.
 *
 * @throws OperatingError RULES_UNREADABLE when there is none to go on with.
 */
export async function loadPublished(
  objects: ReleaseObjects,
  { nowMs = Infinity, signal }: { readonly nowMs?: number; readonly signal?: AbortSignal } = {},
): Promise<LoadedRelease> {
  let below = Infinity;
  let problem: string;
  try {
    const content = await objects.read(CURRENT_KEY, signal === undefined ? {} : { signal });
    if (content === null || content === "unchanged") return alone(loadSeedRelease(), { fallback: null, published: false });
    const named = parsePointerObject(content.bytes, `${objects.address} ${CURRENT_KEY}`);
    below = named.version;
    const schedule = await loadSchedule(objects, named, { nowMs, signal });
    return { release: schedule[schedule.length - 1]!.release, schedule, fallback: null, published: true };
  } catch (thrown) {
    problem = toError(thrown).message;
  }
  return alone(await newestSound(objects, below, problem), { fallback: problem, published: true });
}

function alone(release: Release, facts: Pick<LoadedRelease, "fallback" | "published">): LoadedRelease {
  return { release, schedule: [{ release, fromMs: 0 }], ...facts };
}

async function newestSound(objects: ReleaseObjects, below: number, problem: string): Promise<Release> {
  // What does not answer has nothing older either: the problem is told once.
  const versions = (await objects.list(PREFIX).catch(() => []))
    .map(({ key }) => Number(/^rules\/(\d+)\.json$/.exec(key)?.[1] ?? Number.NaN))
    .filter((version) => version < below)
    .toSorted((a, b) => b - a);
  for (const version of versions) {
    try {
      const key = releaseKey(version);
      const content = await objects.read(key);
      if (content !== null && content !== "unchanged") return parseRelease(parseJson(content.bytes, key), key);
    } catch {
      // The next older one.
    }
  }
  throw new OperatingError(`no usable rules release: ${problem}`, {
    code: "RULES_UNREADABLE",
    hint: "publish the newest release again: weir rules publish",
  });
}

function parseJson(bytes: Uint8Array, origin: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch (thrown) {
    throw unreadable(origin, thrown);
  }
}

function unreadable(origin: string, thrown: unknown): OperatingError {
  return new OperatingError(`cannot read rules ${origin}: ${toError(thrown).message}`, { code: "RULES_UNREADABLE", cause: thrown });
}
