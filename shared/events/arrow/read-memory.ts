/**
 * Memory of one reader, used again from stream to stream: fresh memory for every block is zeroed, and makes the garbage collector run for what lies
 * outside of its heap (a sixth of the processor's CPU, measured). What was read with it is valid until the next stream is.
 */
export class ReadMemory {
  #bytes = new Uint8Array(0);
  #doubles = new Float64Array(0);
  #doublesAt = 0;

  /** A new stream begins: the one before it is over. */
  begin(): void {
    this.#doublesAt = 0;
  }

  /** The same bytes, from a multiple of 8 on. */
  copyOf(bytes: Uint8Array): Uint8Array {
    if (this.#bytes.length < bytes.length) this.#bytes = new Uint8Array(bytes.length + (bytes.length >> 1));
    this.#bytes.set(bytes);
    return this.#bytes.subarray(0, bytes.length);
  }

  /** So many, with anything in them. */
  doubles(count: number): Float64Array {
    if (this.#doublesAt + count > this.#doubles.length) {
      this.#doubles = new Float64Array(2 * Math.max(count, this.#doubles.length));
      this.#doublesAt = 0;
    }
    const from = this.#doublesAt;
    this.#doublesAt += count;
    return this.#doubles.subarray(from, this.#doublesAt);
  }
}
