/**
 * Releases as files: `<dataDir>/rules/<version>.json`, never changed once written, and `current.json` {version, file, sha256}, which is replaced
 * whole. The stand-in for the same two objects in S3.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { OperatingError, toError } from "../kernel/errors.ts";
import { parseRelease, type Release } from "./release.ts";

const SEED = new URL("seed-release.json", import.meta.url);

const current = z.strictObject({ version: z.int().min(1), file: z.string().min(1), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

export interface LoadedRelease {
  readonly release: Release;
  /** Why this is not the release that `current.json` names; null = it is. */
  readonly fallback: string | null;
}

/** One file, checked. @throws OperatingError RULES_UNREADABLE, RULES_INVALID. */
export function loadRelease(path: string | URL): Release {
  return parseBytes(readBytes(path), String(path));
}

export function loadSeedRelease(): Release {
  return loadRelease(SEED);
}

/** Names the release that is published now; null = none was ever. Throws when `current.json` is damaged. */
export function readCurrent(dataDir: string): z.output<typeof current> | null {
  const path = join(dataDir, "rules", "current.json");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw unreadable(path, thrown);
  }
  const parsed = current.safeParse(parseJson(text, path));
  if (!parsed.success) throw new OperatingError(`${path} must hold {version, file, sha256}`, { code: "RULES_UNREADABLE" });
  return parsed.data;
}

/**
 * The published release, its hash verified; without one the seed. If it is damaged: `lastGood`, else the newest older file that is sound. A
 * pipeline goes on with old rules rather than stand still; `fallback` says so and belongs into a log and a metric.
 *
 * @throws OperatingError RULES_UNREADABLE when there is none to go on with.
 */
export function loadPublished(dataDir: string, lastGood?: Release): LoadedRelease {
  let problem: string;
  let below = Infinity;
  try {
    const named = readCurrent(dataDir);
    if (named === null) return { release: lastGood ?? loadSeedRelease(), fallback: null };
    below = named.version;
    if (lastGood?.version === named.version) return { release: lastGood, fallback: null };
    return { release: loadNamed(dataDir, named), fallback: null };
  } catch (thrown) {
    problem = toError(thrown).message;
  }
  if (lastGood !== undefined) return { release: lastGood, fallback: problem };
  for (const version of publishedVersions(dataDir)) {
    if (version >= below) continue;
    try {
      return { release: loadRelease(join(dataDir, "rules", `${version}.json`)), fallback: problem };
    } catch {
      // The next older one.
    }
  }
  throw new OperatingError(`no usable rules release: ${problem}`, {
    code: "RULES_UNREADABLE",
    hint: "publish a release again: weir rules apply",
  });
}

function loadNamed(dataDir: string, named: z.output<typeof current>): Release {
  const path = join(dataDir, "rules", basename(named.file));
  const bytes = readBytes(path);
  const actual = createHash("sha256").update(bytes).digest("hex");
  if (actual !== named.sha256) {
    throw new OperatingError(`${path} has sha256 ${actual.slice(0, 12)}…, current.json says ${named.sha256.slice(0, 12)}…`, {
      code: "RULES_UNREADABLE",
    });
  }
  const release = parseBytes(bytes, path);
  if (release.version !== named.version) {
    throw new OperatingError(`${path} is version ${release.version}, current.json says ${named.version}`, { code: "RULES_UNREADABLE" });
  }
  return release;
}

/** Newest first. */
function publishedVersions(dataDir: string): number[] {
  try {
    return readdirSync(join(dataDir, "rules"))
      .map((file) => /^(\d+)\.json$/.exec(file)?.[1])
      .filter((version) => version !== undefined)
      .map(Number)
      .sort((a, b) => b - a);
  } catch {
    return [];
  }
}

function readBytes(path: string | URL): Buffer {
  try {
    return readFileSync(path);
  } catch (thrown) {
    throw unreadable(String(path), thrown);
  }
}

function parseBytes(bytes: Buffer, origin: string): Release {
  return parseRelease(parseJson(bytes.toString("utf8"), origin), origin);
}

function parseJson(text: string, origin: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw unreadable(origin, thrown);
  }
}

function unreadable(origin: string, thrown: unknown): OperatingError {
  return new OperatingError(`cannot read rules ${origin}: ${toError(thrown).message}`, { code: "RULES_UNREADABLE", cause: thrown });
}
