/**
 * Attributes by key: `{"version": 3, "key": "source", "rows": {"web": {"region": "eu", "tier": "1"}, …}}`. `key` is `source`, `event_type`, or a pointer
 * below `/properties/` whose value counts as text (numbers and truth values as they are written; objects, arrays and null are no key). Attributes
 * are texts; a row's are emitted as one JSON object, in the order of their names.
 *
 * The object is immutable and named by a control record, which says version and SHA-256; whoever loads it has compared the digest.
 */
import { CorruptStateError } from "../kernel/errors.ts";

export const ENRICHMENT_BYTES_MAX = 1 << 20;
export const ENRICHMENT_ROWS_MAX = 10_000;
/** What all keys begin with. */
export const ENRICHMENT_PREFIX = "enrichments/";

export interface EnrichmentTable {
  readonly version: number;
  readonly key: "source" | "event_type" | readonly string[];
  /** Key -> JSON text of the attributes. */
  readonly rows: ReadonlyMap<string, string>;
}

/** As people write it: without a version. */
export interface EnrichmentDraft {
  /** `source`, `event_type` or a pointer. */
  readonly key: string;
  readonly rows: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Beside the rules releases. */
export function enrichmentKey({ version, sha256 }: { readonly version: number; readonly sha256: string }): string {
  return `${ENRICHMENT_PREFIX}${version}-${sha256}.json`;
}

/** null: no key of {@link enrichmentKey}. */
export function enrichmentVersionOf(key: string): number | null {
  const [, version] = /^enrichments\/(\d+)-[0-9a-f]{64}\.json$/.exec(key) ?? [];
  return version === undefined ? null : Number(version);
}

/** The same text for the same rows, in whatever order they come. */
export function encodeEnrichment({ key, rows }: EnrichmentDraft, version: number): string {
  return JSON.stringify({ version, key, rows: sorted(rows, (attributes) => sorted(attributes, (value) => value)) });
}

/** Of what {@link encodeEnrichment} gave. */
export function draftOf(content: string): EnrichmentDraft {
  const { key, rows } = JSON.parse(content) as EnrichmentDraft;
  return { key, rows };
}

function sorted<T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> {
  const pairs = Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(pairs.map(([name, value]) => [name, map(value)]));
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** @throws CorruptStateError when the bytes are no such table, or one of another version. */
export function decodeEnrichment(bytes: Uint8Array, version: number): EnrichmentTable {
  if (bytes.length > ENRICHMENT_BYTES_MAX) throw invalid(version, `has ${bytes.length} bytes, ${ENRICHMENT_BYTES_MAX} are allowed`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(decoder.decode(bytes));
  } catch {
    throw invalid(version, "is not JSON in UTF-8");
  }
  if (!isRecord(parsed) || !isRecord(parsed["rows"])) throw invalid(version, "is no object with rows");
  if (parsed["version"] !== version) throw invalid(version, `says that it is version ${JSON.stringify(parsed["version"])}`);
  const rows = new Map<string, string>();
  for (const [key, attributes] of Object.entries(parsed["rows"])) {
    if (!isRecord(attributes)) throw invalid(version, `has no object at ${JSON.stringify(key)}`);
    const pairs = Object.entries(attributes).toSorted(([a], [b]) => (a < b ? -1 : 1));
    if (!pairs.every(([, value]) => typeof value === "string"))
      throw invalid(version, `has an attribute that is no text at ${JSON.stringify(key)}`);
    rows.set(key, JSON.stringify(Object.fromEntries(pairs)));
  }
  if (rows.size > ENRICHMENT_ROWS_MAX) throw invalid(version, `has ${rows.size} rows, ${ENRICHMENT_ROWS_MAX} are allowed`);
  return { version, key: keyOf(parsed["key"], version), rows };
}

function keyOf(key: unknown, version: number): EnrichmentTable["key"] {
  if (key === "source" || key === "event_type") return key;
  const [root, part, ...path] = typeof key === "string" ? key.split("/") : [];
  if (root !== "" || part !== "properties" || path.length === 0) {
    throw invalid(version, `has the key ${JSON.stringify(key)}, not source, event_type or /properties/...`);
  }
  return path.map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(version: number, problem: string): CorruptStateError {
  return new CorruptStateError(`enrichment table ${version} ${problem}`, {
    code: "ENRICHMENT_INVALID",
    hint: "put the table that the control record names back in its place; the partition waits until then",
  });
}
