/** Names of snapshot objects: `snapshots/<lane>-<generation>/<partition>/<offset, 20 digits>-<sha256>.snap`. They sort by offset. */
import type { PipelineId } from "#shared/events/names.ts";

const NAME = /^(\d{20})-([0-9a-f]{64})\.snap$/;

export function snapshotPrefix(id: PipelineId, partition: number): string {
  return `snapshots/${id.lane}-${id.generation}/${partition}/`;
}

export function snapshotKey(prefix: string, offset: number, sha256: string): string {
  return `${prefix}${String(offset).padStart(20, "0")}-${sha256}.snap`;
}

/** null: not a snapshot's key (a temporary file, something a person put there). */
export function parseSnapshotKey(key: string): { readonly offset: number; readonly sha256: string } | null {
  const match = NAME.exec(key.slice(key.lastIndexOf("/") + 1));
  if (match === null) return null;
  const offset = Number(match[1]);
  return Number.isSafeInteger(offset) ? { offset, sha256: match[2]! } : null;
}
