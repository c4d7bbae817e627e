/** Control records of events.valid: what is not an event but must be folded at one place of the log (DESIGN 3.3). Value: JSON. */
import { HEADERS } from "./names.ts";

export type ControlRecord =
  /** Appended by the partition's owner when it is idle: time passes. `now` in epoch milliseconds. */
  | { readonly kind: "tick"; readonly now: number }
  | { readonly kind: "rules"; readonly version: number }
  /** From here on rows are enriched from that table: an immutable object beside the rules releases (enrichment-table.ts). */
  | { readonly kind: "enrichment"; readonly version: number; readonly sha256: string }
  /** End of input of a historical lane: closes every open window. */
  | { readonly kind: "drain" };

const encoder = new TextEncoder();

/** Key null; goes to the partition that it steers. */
export function encodeControl(control: ControlRecord): { key: null; value: Uint8Array; headers: [string, Uint8Array][] } {
  const { kind, ...rest } = control;
  return { key: null, value: encoder.encode(JSON.stringify(rest)), headers: [[HEADERS.kind, encoder.encode(kind)]] };
}
