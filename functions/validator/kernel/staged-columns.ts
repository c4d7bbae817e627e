/**
 * The rows that the kernel accepted since the last drain. They go to the block as a run, column by column, so that the kernel's memory never has
 * to hold a block and one row costs no call. Where they are the whole block, the block's columns are views of them.
 */
import type { BytesColumn, EventColumns } from "#shared/events/columns.ts";
import type { BlockBuilder } from "../scanner/block-builder.ts";
import { setBits } from "../scanner/column-builders.ts";
import type { Region } from "./region.ts";

const ROWS = 2_048;
/** Of each of the four columns of variable length. An event that does not fit into an empty one is the twin's. */
const COLUMN_BYTES = 524_288;

/** As in assembly/accept.ts: S_*, in words. */
const WORD = { rows: 0, lengths: 1, present: 5, addresses: 16 } as const;
const HEADER_WORDS = 40;

export class StagedColumns {
  readonly address: number;
  readonly rowCapacity: number = ROWS;
  readonly columnBytes: number = COLUMN_BYTES;
  readonly #addresses: readonly number[];
  #words!: Int32Array;
  #sourceOffset!: Float64Array;
  #eventTimeMs!: Float64Array;
  #eventId!: Uint8Array;
  #userId!: Uint32Array;
  #value!: Float64Array;
  #fingerprint!: Uint32Array;
  #type!: Int16Array;
  #source!: Int16Array;
  #offsets: Int32Array[] = [];
  #presence: Uint8Array[] = [];
  #bytes: Uint8Array[] = [];
  #version!: Uint16Array;

  constructor(region: Region) {
    this.address = region.take(4 * HEADER_WORDS, 64);
    const widths = [8, 8, 16, 8, 8, 4, 2, 2];
    this.#addresses = [
      ...widths.map((width) => region.take(width * ROWS, 64)),
      ...[0, 1, 2, 3].map(() => region.take(4 * (ROWS + 1), 64)),
      ...[0, 1, 2, 3].map(() => region.take(ROWS, 64)),
      ...[0, 1, 2, 3].map(() => region.take(COLUMN_BYTES, 64)),
      region.take(2 * ROWS, 64),
    ];
    region.setInts(this.address + 4 * WORD.addresses, this.#addresses);
    this.attach(region.memory.buffer);
  }

  /** After the memory has grown: views of its old buffer are dead. */
  attach(buffer: ArrayBufferLike): void {
    const at = this.#addresses;
    this.#words = new Int32Array(buffer, this.address, HEADER_WORDS);
    this.#sourceOffset = new Float64Array(buffer, at[0], ROWS);
    this.#eventTimeMs = new Float64Array(buffer, at[1], ROWS);
    this.#eventId = new Uint8Array(buffer, at[2], 16 * ROWS);
    this.#userId = new Uint32Array(buffer, at[3], 2 * ROWS);
    this.#value = new Float64Array(buffer, at[4], ROWS);
    this.#fingerprint = new Uint32Array(buffer, at[5], ROWS);
    this.#type = new Int16Array(buffer, at[6], ROWS);
    this.#source = new Int16Array(buffer, at[7], ROWS);
    this.#offsets = [8, 9, 10, 11].map((i) => new Int32Array(buffer, at[i], ROWS + 1));
    this.#presence = [12, 13, 14, 15].map((i) => new Uint8Array(buffer, at[i], ROWS));
    this.#bytes = [16, 17, 18, 19].map((i) => new Uint8Array(buffer, at[i], COLUMN_BYTES));
    this.#version = new Uint16Array(buffer, at[20], ROWS);
  }

  get rows(): number {
    return this.#words[WORD.rows]!;
  }

  /** Of the columns of variable length. */
  get variableBytes(): number {
    const words = this.#words;
    return words[WORD.lengths]! + words[WORD.lengths + 1]! + words[WORD.lengths + 2]! + words[WORD.lengths + 3]!;
  }

  clear(): void {
    this.#words.fill(0, WORD.rows, WORD.present + 4);
  }

  /** Appends all rows to the block. */
  drain(block: BlockBuilder): void {
    const { rows } = this;
    if (rows === 0) return;
    const words = this.#words;
    const at = block.openAccepted(rows);
    block.sourceOffset.set(this.#sourceOffset.subarray(0, rows), at);
    block.eventTimeMs.set(this.#eventTimeMs.subarray(0, rows), at);
    block.eventId.set(this.#eventId.subarray(0, 16 * rows), 16 * at);
    block.userId.set(this.#userId.subarray(0, 2 * rows), 2 * at);
    block.value.set(this.#value.subarray(0, rows), at);
    block.fingerprint.set(this.#fingerprint.subarray(0, rows), at);
    block.eventType.appendRun(at, this.#type, rows);
    block.source.appendRun(at, this.#source, rows);
    for (const [i, column] of [block.sessionId, block.deviceInfo, block.geoLocation, block.properties].entries()) {
      const present = words[WORD.present + i]!;
      if (present > 0) column.appendRun(at, rows, this.#offsets[i]!, this.#bytes[i]!, present === rows ? null : this.#presence[i]!);
    }
    this.#countVersions(block, rows);
    this.clear();
  }

  /** Ends a block that has no other rows. Views, valid until the next row. */
  finish(block: BlockBuilder): EventColumns {
    const { rows } = this;
    block.openAccepted(rows);
    block.eventType.appendRun(0, this.#type, rows);
    block.source.appendRun(0, this.#source, rows);
    this.#countVersions(block, rows);
    const columns = block.finish();
    const [sessionId, deviceInfo, geoLocation, properties] = [0, 1, 2, 3].map((i) => this.#bytesColumn(i, rows));
    this.clear();
    return {
      ...columns,
      sourceOffset: this.#sourceOffset.subarray(0, rows),
      eventTimeMs: this.#eventTimeMs.subarray(0, rows),
      eventId: this.#eventId.subarray(0, 16 * rows),
      userId: this.#userId.subarray(0, 2 * rows),
      value: this.#value.subarray(0, rows),
      fingerprint: this.#fingerprint.subarray(0, rows),
      sessionId: sessionId ?? columns.sessionId,
      deviceInfo: deviceInfo ?? columns.deviceInfo,
      geoLocation: geoLocation ?? columns.geoLocation,
      properties: properties ?? columns.properties,
    };
  }

  /** null = no row has it. */
  #bytesColumn(i: number, rows: number): BytesColumn | null {
    const present = this.#words[WORD.present + i]!;
    if (present === 0) return null;
    const offsets = this.#offsets[i]!.subarray(0, rows + 1);
    let validity: Uint8Array | null = null;
    if (present < rows) {
      validity = new Uint8Array((rows + 7) >> 3);
      setBits(validity, 0, rows, this.#presence[i]!);
    }
    return { offsets, bytes: this.#bytes[i]!.subarray(0, offsets[rows]), validity };
  }

  #countVersions({ versionRows }: BlockBuilder, rows: number): void {
    const versions = this.#version;
    for (let row = 0; row < rows; row++) versionRows[versions[row]!]!++;
  }
}
