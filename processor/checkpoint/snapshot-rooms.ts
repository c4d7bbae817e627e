/**
 * Memory that states are copied to while the fold stops, shared with the thread that seals them. A page that was never touched costs the fold
 * ten times as much to write as one that was: so a room is touched by the sealer first, and used again. Rooms belong to a thread, not to a
 * partition: snapshots are staggered, so few are in use at a time.
 */
const KEPT = 2;
const HEADROOM = 1.25;

export class SnapshotRooms {
  readonly #prepare: (room: SharedArrayBuffer) => Promise<void>;
  readonly #free: SharedArrayBuffer[] = [];
  #isPreparing = false;

  /** `prepare` touches every page, elsewhere. */
  constructor(prepare: (room: SharedArrayBuffer) => Promise<void>) {
    this.#prepare = prepare;
  }

  /** null: none is ready, and one is being prepared. */
  take(sizeBytes: number): Uint8Array | null {
    const found = this.#free.findIndex((room) => room.byteLength >= sizeBytes);
    if (found >= 0) return new Uint8Array(this.#free.splice(found, 1)[0]!, 0, sizeBytes);
    if (!this.#isPreparing) {
      this.#isPreparing = true;
      const room = new SharedArrayBuffer(Math.ceil(sizeBytes * HEADROOM));
      void this.#prepare(room)
        .then(() => this.#keep(room))
        .catch(() => undefined)
        .finally(() => (this.#isPreparing = false));
    }
    return null;
  }

  give(state: Uint8Array): void {
    if (state.buffer instanceof SharedArrayBuffer) this.#keep(state.buffer);
  }

  /** The largest stay: states grow. */
  #keep(room: SharedArrayBuffer): void {
    this.#free.push(room);
    this.#free.sort((a, b) => b.byteLength - a.byteLength);
    this.#free.length = Math.min(this.#free.length, KEPT);
  }
}
