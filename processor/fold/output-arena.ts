/**
 * Memory for the encoded outputs of one epoch, used again for the next: fresh megabytes per epoch would be zeroed by the kernel and make the
 * garbage collector run for what lies outside of its heap.
 */

const CHUNK_BYTES = 4 << 20;
/** Kept from one epoch to the next at most. */
const KEPT_BYTES_MAX = 64 << 20;

export class OutputArena {
  readonly #chunks: ArrayBuffer[] = [];
  #chunk = 0;
  #at = 0;

  /** Everything taken so far is over. */
  reset(): void {
    let kept = 0;
    while (kept < this.#chunks.length && (kept + 1) * CHUNK_BYTES <= KEPT_BYTES_MAX) kept++;
    this.#chunks.length = kept;
    this.#chunk = 0;
    this.#at = 0;
  }

  readonly take = (sizeBytes: number): Uint8Array => {
    if (sizeBytes > CHUNK_BYTES) return new Uint8Array(Buffer.allocUnsafeSlow(sizeBytes).buffer);
    if (this.#at + sizeBytes > CHUNK_BYTES) {
      this.#chunk++;
      this.#at = 0;
    }
    if (this.#chunk === this.#chunks.length) this.#chunks.push(new ArrayBuffer(CHUNK_BYTES));
    const bytes = new Uint8Array(this.#chunks[this.#chunk]!, this.#at, sizeBytes);
    this.#at = (this.#at + sizeBytes + 7) & ~7;
    return bytes;
  };
}
