/** The columns of one block while it grows, one row per record. */
import { type EventColumns, VERDICT } from "#shared/events/columns.ts";
import { REASON_CODES } from "#shared/events/reasons.ts";
import type { Plan } from "#shared/rules/plan.ts";
import { BytesBuilder, DictionaryBuilder } from "./column-builders.ts";

/** What a row costs in an encoded block beside its variable parts: fixed columns, offsets, validity. */
export const FIXED_ROW_BYTES = 104;

export class BlockBuilder {
  rows = 0;
  #capacity = 1_024;
  sourceOffset = new Float64Array(1_024);
  eventId = new Uint8Array(16 * 1_024);
  eventIdWords: Int32Array = new Int32Array(this.eventId.buffer);
  eventTimeMs = new Float64Array(1_024);
  userId = new Uint32Array(2 * 1_024);
  value = new Float64Array(1_024);
  fingerprint = new Uint32Array(1_024);
  verdict = new Uint8Array(1_024);
  readonly eventType: DictionaryBuilder;
  readonly source: DictionaryBuilder;
  readonly reason = new DictionaryBuilder(REASON_CODES);
  readonly sessionId = new BytesBuilder();
  readonly deviceInfo = new BytesBuilder();
  readonly geoLocation = new BytesBuilder();
  readonly properties = new BytesBuilder();
  readonly pointer = new BytesBuilder();
  readonly rawKey = new BytesBuilder();
  readonly raw = new BytesBuilder();
  readonly headers = new BytesBuilder();
  /** Accepted rows by place of their version in the plan's `versions`. */
  readonly versionRows: Uint32Array;

  constructor(plan: Plan) {
    this.eventType = new DictionaryBuilder(plan.typeNames.names);
    this.source = new DictionaryBuilder(plan.sourceNames.names);
    this.versionRows = new Uint32Array(plan.versions.length);
  }

  get #variable(): BytesBuilder[] {
    return [this.sessionId, this.deviceInfo, this.geoLocation, this.properties, this.pointer, this.rawKey, this.raw, this.headers];
  }

  begin(): void {
    this.rows = 0;
    this.eventType.begin();
    this.source.begin();
    this.reason.begin();
    this.versionRows.fill(0);
    for (const column of this.#variable) column.begin();
  }

  /** Opens the next row. The caller sets every fixed column: what stands there is from an earlier block. */
  openRow(sourceOffset: number, fingerprint: number): number {
    if (this.rows === this.#capacity) this.#grow();
    const row = this.rows++;
    this.sourceOffset[row] = sourceOffset;
    this.fingerprint[row] = fingerprint;
    return row;
  }

  /** Opens a run of accepted rows without a warning and returns its first. The caller sets all of their other columns. */
  openAccepted(rows: number): number {
    while (this.rows + rows > this.#capacity) this.#grow();
    const row = this.rows;
    this.rows += rows;
    this.verdict.fill(VERDICT.ok, row, row + rows);
    this.reason.appendNulls(row, rows);
    return row;
  }

  /** About what the block will be encoded to. */
  sizeBytes(): number {
    let size = this.rows * FIXED_ROW_BYTES;
    size += this.sessionId.length + this.deviceInfo.length + this.geoLocation.length + this.properties.length;
    return size + this.pointer.length + this.rawKey.length + this.raw.length + this.headers.length;
  }

  finish(): EventColumns {
    const { rows } = this;
    return {
      rows,
      sourceOffset: this.sourceOffset.subarray(0, rows),
      eventId: this.eventId.subarray(0, 16 * rows),
      eventTimeMs: this.eventTimeMs.subarray(0, rows),
      userId: this.userId.subarray(0, 2 * rows),
      eventType: this.eventType.finish(rows),
      source: this.source.finish(rows),
      sessionId: this.sessionId.finish(rows),
      value: this.value.subarray(0, rows),
      deviceInfo: this.deviceInfo.finish(rows),
      geoLocation: this.geoLocation.finish(rows),
      properties: this.properties.finish(rows),
      fingerprint: this.fingerprint.subarray(0, rows),
      verdict: this.verdict.subarray(0, rows),
      reason: this.reason.finish(rows),
      pointer: this.pointer.finish(rows),
      rawKey: this.rawKey.finish(rows),
      raw: this.raw.finish(rows),
      headers: this.headers.finish(rows),
    };
  }

  #grow(): void {
    this.#capacity *= 2;
    this.sourceOffset = grown(this.sourceOffset, new Float64Array(this.#capacity));
    this.eventId = grown(this.eventId, new Uint8Array(16 * this.#capacity));
    this.eventIdWords = new Int32Array(this.eventId.buffer);
    this.eventTimeMs = grown(this.eventTimeMs, new Float64Array(this.#capacity));
    this.userId = grown(this.userId, new Uint32Array(2 * this.#capacity));
    this.value = grown(this.value, new Float64Array(this.#capacity));
    this.fingerprint = grown(this.fingerprint, new Uint32Array(this.#capacity));
    this.verdict = grown(this.verdict, new Uint8Array(this.#capacity));
  }
}

function grown<T extends Float64Array | Uint32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
