/** Progress as the metadata string of a committed offset and as a header of outputs. */
import { assert } from "#shared/kernel/assert.ts";
import { OUTPUT_ROLES } from "#shared/events/names.ts";
import { type Progress, PROGRESS_VERSION } from "#shared/events/progress.ts";

/** The broker's offset.metadata.max.bytes: beyond it the commit is refused. */
const METADATA_BYTES_MAX = 4_096;

export function encodeProgress(progress: Progress): string {
  const text = JSON.stringify(progress);
  assert(text.length <= METADATA_BYTES_MAX, `progress takes ${text.length} bytes of offset metadata, ${METADATA_BYTES_MAX} fit`);
  return text;
}

/** null: not a progress. */
export function parseProgress(text: string): Progress | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return isProgress(value) ? value : null;
}

function isProgress(value: unknown): value is Progress {
  if (!isRecord(value) || value["v"] !== PROGRESS_VERSION) return false;
  const { hash, watermarkMs, oseq, counts } = value;
  return (
    typeof hash === "string" &&
    /^[0-9a-f]{16}$/.test(hash) &&
    (watermarkMs === null || Number.isSafeInteger(watermarkMs)) &&
    ["hw", "logTimeMs", "foldVersion", "rulesVersion", "cut"].every((key) => Number.isSafeInteger(value[key])) &&
    isRecord(oseq) &&
    OUTPUT_ROLES.every((role) => Number.isSafeInteger(oseq[role])) &&
    isRecord(counts) &&
    ["raw", "clean", "deadLettered", "duplicate", "late", "redelivered"].every((key) => Number.isSafeInteger(counts[key]))
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
