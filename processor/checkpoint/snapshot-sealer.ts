/**
 * Seals snapshots in a thread of its own: at a million keys checksums, hash and compression take a second, which is a second in which the fold
 * goes on. Started with the first snapshot, one per thread of the processor.
 */
import { Worker } from "node:worker_threads";
import { OperatingError } from "#shared/kernel/errors.ts";
import type { SealedSnapshot } from "./snapshot-codec.ts";
import { SnapshotRooms } from "./snapshot-rooms.ts";
import type { SnapshotHeader } from "./types.ts";

export type ToSealer =
  | { readonly kind: "touch"; readonly id: number; readonly room: SharedArrayBuffer }
  | {
      readonly kind: "seal";
      readonly id: number;
      readonly room: SharedArrayBuffer;
      readonly sizeBytes: number;
      readonly header: SnapshotHeader;
    };

export interface FromSealer {
  readonly id: number;
  readonly sealed: SealedSnapshot | null;
  readonly error: string | null;
}

/** What a task needs of it; without one, the fold's thread does all of it. */
export interface StateSealer {
  /** Memory for a copy of the state; null = not yet, ask again at the next epoch. */
  room(sizeBytes: number): Uint8Array | null;
  /** Takes the room back. */
  seal(header: SnapshotHeader, state: Uint8Array): Promise<SealedSnapshot>;
  /** Takes the room back, unsealed. */
  drop(state: Uint8Array): void;
}

export class SnapshotSealer implements StateSealer {
  readonly #rooms = new SnapshotRooms((room) => this.#ask({ kind: "touch", room }).then(() => undefined));
  readonly #waiting = new Map<number, PromiseWithResolvers<FromSealer>>();
  #worker: Worker | null = null;
  #asked = 0;

  room(sizeBytes: number): Uint8Array | null {
    return this.#rooms.take(sizeBytes);
  }

  async seal(header: SnapshotHeader, state: Uint8Array): Promise<SealedSnapshot> {
    try {
      const { sealed, error } = await this.#ask({ kind: "seal", room: state.buffer as SharedArrayBuffer, sizeBytes: state.length, header });
      if (sealed === null) throw sealerError(error ?? "no answer");
      return sealed;
    } finally {
      this.drop(state);
    }
  }

  drop(state: Uint8Array): void {
    this.#rooms.give(state);
  }

  #ask(request: Omit<Extract<ToSealer, { kind: "touch" }>, "id"> | Omit<Extract<ToSealer, { kind: "seal" }>, "id">): Promise<FromSealer> {
    const id = ++this.#asked;
    const answer = Promise.withResolvers<FromSealer>();
    this.#waiting.set(id, answer);
    this.#worker ??= this.#start();
    this.#worker.postMessage({ ...request, id });
    return answer.promise;
  }

  #start(): Worker {
    const worker = new Worker(new URL("./sealer-thread.ts", import.meta.url), { name: "sealer" });
    // It keeps no process alive: who waits for a seal waits for it.
    worker.unref();
    worker.on("message", (said: FromSealer) => {
      this.#waiting.get(said.id)?.resolve(said);
      this.#waiting.delete(said.id);
    });
    const ended = (error: Error): void => {
      if (this.#worker === worker) this.#worker = null;
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
    };
    worker.on("error", (thrown) => ended(sealerError(thrown instanceof Error ? thrown.message : String(thrown))));
    worker.on("exit", (code) => ended(sealerError(`its thread ended with ${code}`)));
    return worker;
  }
}

function sealerError(problem: string): OperatingError {
  return new OperatingError(`snapshot not sealed: ${problem}`, {
    code: "SNAPSHOT_NOT_SEALED",
    hint: "see the log above; the next one is tried in its time",
  });
}
