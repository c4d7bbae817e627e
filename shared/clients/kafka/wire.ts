/**
 * The primitive types of the Kafka protocol (kafka.apache.org/protocol, "Protocol Primitive Types"), flexible (compact) forms only.
 * Offsets and times are doubles; producer ids stay BigInt, there is one per producer.
 */
import { CorruptStateError } from "../../kernel/errors.ts";

const HIGH = 0x1_0000_0000;
/** A request in pieces, for one vectored write. */
export type Body = readonly Uint8Array[];

export class WireWriter {
  readonly #pieces: Uint8Array[] = [];
  #bytes = Buffer.allocUnsafe(512);
  #at = 0;

  /** Position of so many new bytes. Call it before naming `#bytes`, which it may replace. */
  #room(size: number): number {
    const at = this.#at;
    if (at + size > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, at + size));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    this.#at = at + size;
    return at;
  }

  int8(value: number): this {
    const at = this.#room(1);
    this.#bytes.writeInt8(value, at);
    return this;
  }

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0);
  }

  int16(value: number): this {
    const at = this.#room(2);
    this.#bytes.writeInt16BE(value, at);
    return this;
  }

  int32(value: number): this {
    const at = this.#room(4);
    this.#bytes.writeInt32BE(value, at);
    return this;
  }

  int64(value: number): this {
    const at = this.#room(8);
    this.#bytes.writeInt32BE(Math.floor(value / HIGH), at);
    this.#bytes.writeUInt32BE(value - Math.floor(value / HIGH) * HIGH, at + 4);
    return this;
  }

  bigint64(value: bigint): this {
    const at = this.#room(8);
    this.#bytes.writeBigInt64BE(value, at);
    return this;
  }

  unsignedVarint(value: number): this {
    let rest = value;
    for (;;) {
      const at = this.#room(1);
      this.#bytes[at] = rest < 0x80 ? rest : (rest & 0x7f) | 0x80;
      if (rest < 0x80) return this;
      rest = Math.floor(rest / 0x80);
    }
  }

  string(value: string | null): this {
    if (value === null) return this.unsignedVarint(0);
    const length = Buffer.byteLength(value);
    this.unsignedVarint(length + 1);
    const at = this.#room(length);
    this.#bytes.write(value, at);
    return this;
  }

  /** The form before KIP-482, as in request headers. */
  classicString(value: string): this {
    const length = Buffer.byteLength(value);
    this.int16(length);
    const at = this.#room(length);
    this.#bytes.write(value, at);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.unsignedVarint(value.length + 1);
    const at = this.#room(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** Bytes in pieces that are passed on as they are: they must not change until the request was written. */
  pieces(pieces: readonly Uint8Array[], sizeBytes: number): this {
    this.unsignedVarint(sizeBytes + 1);
    this.#pieces.push(this.#bytes.subarray(0, this.#at), ...pieces);
    this.#bytes = Buffer.allocUnsafe(512);
    this.#at = 0;
    return this;
  }

  /** Elements that are structs end with {@link tags} by themselves. */
  array<T>(values: readonly T[], write: (value: T) => void): this {
    this.unsignedVarint(values.length + 1);
    for (const value of values) write(value);
    return this;
  }

  /** No tagged fields. */
  tags(): this {
    return this.unsignedVarint(0);
  }

  finish(): Body {
    return [...this.#pieces, this.#bytes.subarray(0, this.#at)];
  }
}

export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #take(size: number): number {
    const at = this.#at;
    if (size < 0 || at + size > this.#bytes.length) {
      throw new CorruptStateError("an answer of the broker is cut short", { code: "KAFKA_PROTOCOL" });
    }
    this.#at = at + size;
    return at;
  }

  int8(): number {
    return this.#bytes.readInt8(this.#take(1));
  }

  boolean(): boolean {
    return this.int8() !== 0;
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#take(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  int64(): number {
    const at = this.#take(8);
    return this.#bytes.readInt32BE(at) * HIGH + this.#bytes.readUInt32BE(at + 4);
  }

  bigint64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  unsignedVarint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.#take(1)]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  nullableString(): string | null {
    const length = this.unsignedVarint() - 1;
    if (length < 0) return null;
    const at = this.#take(length);
    return this.#bytes.toString("utf8", at, at + length);
  }

  string(): string {
    return this.nullableString() ?? "";
  }

  /** A view. */
  nullableBytes(): Buffer | null {
    const length = this.unsignedVarint() - 1;
    if (length < 0) return null;
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  array<T>(read: () => T): T[] {
    const length = this.unsignedVarint() - 1;
    const values: T[] = [];
    for (let i = 0; i < length; i++) values.push(read());
    return values;
  }

  /** Skips tagged fields, handing known ones to `visit`. */
  tags(visit?: (tag: number, field: WireReader) => void): void {
    const count = this.unsignedVarint();
    for (let i = 0; i < count; i++) {
      const tag = this.unsignedVarint();
      const size = this.unsignedVarint();
      const at = this.#take(size);
      visit?.(tag, new WireReader(this.#bytes.subarray(at, at + size)));
    }
  }
}
