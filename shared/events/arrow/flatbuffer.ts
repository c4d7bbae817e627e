/**
 * The little of FlatBuffers that Arrow metadata needs (flatbuffers.dev/internals): a builder that grows from the end to the front, and a
 * reader that checks every position before it reads. Hand-written because the npm runtime allocates an object per table and trusts its input.
 */
import { CorruptStateError } from "../../kernel/errors.ts";

export function corrupt(message: string): CorruptStateError {
  return new CorruptStateError(`arrow stream: ${message}`, { code: "ARROW_CORRUPT" });
}

/** Value of one table slot. `ref` is what the builder returned for a string, vector or table. */
export type Slot = readonly [kind: "u8" | "i16" | "i32" | "i64" | "ref", value: number];

const SLOT_SIZE = { u8: 1, i16: 2, i32: 4, i64: 8, ref: 4 } as const;
/** Largest first, so that a table needs little padding. */
const SLOT_ORDER = ["i64", "ref", "i32", "i16", "u8"] as const;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** References are distances from the end of the buffer: they stay true while it grows, and when the finished part is reused as a tail. */
export class FlatBuilder {
  #bytes: Uint8Array;
  #view: DataView;
  #free: number;

  /** `tail`: constant content that was built once; its length must be a multiple of 8. */
  constructor(tail: Uint8Array = new Uint8Array(0)) {
    this.#bytes = new Uint8Array(tail.length + 1_024);
    this.#view = new DataView(this.#bytes.buffer);
    this.#free = this.#bytes.length - tail.length;
    this.#bytes.set(tail, this.#free);
  }

  get size(): number {
    return this.#bytes.length - this.#free;
  }

  string(text: string): number {
    const utf8 = encoder.encode(text);
    this.#prepare(4, utf8.length + 1);
    this.#free -= utf8.length + 1;
    this.#bytes.set(utf8, this.#free);
    this.#pushI32(utf8.length);
    return this.size;
  }

  /** A vector of references to tables or strings. */
  refs(refs: readonly number[]): number {
    this.#prepare(4, refs.length * 4);
    for (let i = refs.length - 1; i >= 0; i--) this.#pushRef(refs[i]!);
    this.#pushI32(refs.length);
    return this.size;
  }

  /** A vector of zeroed structs of two 64-bit integers (FieldNode, Buffer), to be filled in place later. */
  pairs(count: number): number {
    this.#prepare(8, count * 16);
    this.#free -= count * 16;
    this.#prepare(4, 0);
    this.#pushI32(count);
    return this.size;
  }

  /** Slots are written even when they hold the default, so that a template has a place to patch. */
  table(slots: readonly (Slot | null)[]): number {
    const positions = slots.map(() => 0);
    this.#prepare(4, 0);
    const end = this.size;
    for (const kind of SLOT_ORDER) {
      for (const [index, slot] of slots.entries()) {
        if (slot === null || slot[0] !== kind) continue;
        this.#prepare(SLOT_SIZE[kind], 0);
        this.#push(slot);
        positions[index] = this.size;
      }
    }
    const vtableSize = 4 + slots.length * 2;
    this.#prepare(4, 0);
    this.#pushI32(0);
    const table = this.size;
    this.#prepare(2, vtableSize);
    for (let index = slots.length - 1; index >= 0; index--) this.#pushI16(positions[index] === 0 ? 0 : table - positions[index]!);
    this.#pushI16(table - end);
    this.#pushI16(vtableSize);
    this.#view.setInt32(this.#bytes.length - table, this.size - table, true);
    return table;
  }

  /** Pads to 8 bytes, so that the content can be a tail. */
  tail(): Uint8Array {
    this.#prepare(8, 0);
    return this.#bytes.slice(this.#free);
  }

  /** The finished buffer, its length a multiple of 8. */
  finish(root: number): Uint8Array {
    this.#prepare(8, 4);
    this.#pushRef(root);
    return this.#bytes.subarray(this.#free);
  }

  #push([kind, value]: Slot): void {
    if (kind === "ref") this.#pushRef(value);
    else if (kind === "i32") this.#pushI32(value);
    else if (kind === "i16") this.#pushI16(value);
    else if (kind === "u8") this.#bytes[--this.#free] = value;
    else {
      this.#free -= 8;
      writeI64(this.#view, this.#free, value);
    }
  }

  #pushI16(value: number): void {
    this.#free -= 2;
    this.#view.setInt16(this.#free, value, true);
  }

  #pushI32(value: number): void {
    this.#free -= 4;
    this.#view.setInt32(this.#free, value, true);
  }

  #pushRef(ref: number): void {
    this.#pushI32(this.size + 4 - ref);
  }

  /** Pads with zeros so that what follows `additional` more bytes lies on a multiple of `align`, counted from the end. */
  #prepare(align: number, additional: number): void {
    const padding = -(this.size + additional) & (align - 1);
    while (this.#free < padding + additional + 16) {
      const grown = new Uint8Array(this.#bytes.length * 2);
      grown.set(this.#bytes, this.#bytes.length);
      this.#free += this.#bytes.length;
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#free -= padding;
  }
}

export function writeI64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** Reads tables out of a buffer that nobody vouches for: a position outside it is a CorruptStateError. A table is its position. */
export class FlatReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  root(): number {
    return this.ref(0);
  }

  /** Position of the slot's value, 0 when the table does not have it. */
  slot(table: number, index: number): number {
    this.#need(table, 4);
    const vtable = table - this.#view.getInt32(table, true);
    this.#need(vtable, 4);
    const entry = 4 + index * 2;
    if (entry + 2 > this.#view.getUint16(vtable, true)) return 0;
    this.#need(vtable + entry, 2);
    const offset = this.#view.getUint16(vtable + entry, true);
    return offset === 0 ? 0 : table + offset;
  }

  /** Position that the slot refers to; a missing one is corrupt. */
  slotRef(table: number, index: number): number {
    const at = this.slot(table, index);
    if (at === 0) throw corrupt("metadata lacks a part");
    return this.ref(at);
  }

  u8(at: number): number {
    this.#need(at, 1);
    return this.#view.getUint8(at);
  }

  i16(at: number): number {
    this.#need(at, 2);
    return this.#view.getInt16(at, true);
  }

  i32(at: number): number {
    this.#need(at, 4);
    return this.#view.getInt32(at, true);
  }

  /** @throws CorruptStateError below zero or from 2^53 on: every 64-bit integer of Arrow metadata is a length, a position or an id. */
  i64(at: number): number {
    this.#need(at, 8);
    const high = this.#view.getUint32(at + 4, true);
    if (high >= 0x20_0000) throw corrupt("metadata holds an impossible length");
    return high * 0x1_0000_0000 + this.#view.getUint32(at, true);
  }

  ref(at: number): number {
    this.#need(at, 4);
    const target = at + this.#view.getUint32(at, true);
    this.#need(target, 4);
    return target;
  }

  /** Number of items of a vector, which must lie inside the buffer. Items start 4 bytes behind. */
  vector(at: number, itemSize: number): number {
    this.#need(at, 4);
    const length = this.#view.getUint32(at, true);
    this.#need(at + 4, length * itemSize);
    return length;
  }

  string(at: number): string {
    const length = this.vector(at, 1);
    try {
      return decoder.decode(this.#bytes.subarray(at + 4, at + 4 + length));
    } catch {
      throw corrupt("metadata holds text that is not UTF-8");
    }
  }

  #need(at: number, size: number): void {
    if (at < 0 || at + size > this.#bytes.length) throw corrupt("metadata points outside itself");
  }
}
